"""The report of a scoring run: tables, charts, gallery, and one page that needs no other file."""
