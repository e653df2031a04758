"""What people see of a served policy: HTML, script and style, served as they are."""
