"""zhseq inside of other systems; each module needs an extra of its own."""
