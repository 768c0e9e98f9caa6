"""Container files as they come: cut short, joined, tagged, with time stamps that begin anew."""
