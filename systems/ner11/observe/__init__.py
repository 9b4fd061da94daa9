"""What NER11's answers, files and figures mean. Pure understanding; the probes in `probes/ner11/` fetch."""
