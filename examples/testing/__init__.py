"""How an application tests its tasks; the pages under docs/how-to show these files."""
