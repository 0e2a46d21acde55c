"""Layers, CRF and Viterbi search shared by the models."""
