"""Every method that fills a hole, behind one registry."""
