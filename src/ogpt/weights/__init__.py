"""Files become named arrays and back, without any framework."""
