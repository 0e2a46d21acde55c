"""HTTP service with tagger, poet and a web page, started by `python -m zhseq.serve`. Needs the extra `serve`."""
