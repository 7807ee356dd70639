"""The inventory that ships with the lab, with real disk images."""
