"""The service: tagger and poet behind HTTP, with a page. `python -m zhseq.serve` starts it; extra `serve`."""
