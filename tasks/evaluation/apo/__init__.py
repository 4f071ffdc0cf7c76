"""The report of the flow apo: tables, findings and the course of the game."""
