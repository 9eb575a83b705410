"""piccolo-admin: the staff's web UI, with its own login, at `/admin/`.

`mount` is its route, and `requests` answers what comes there. `build` configures its tables, which `tables`,
`history_tables`, `views` and `staff_tables` define, and `rows` holds a save to the version that was opened. `failures`
puts refusals into the envelope. `staff` has the logins of staff, and `page` the scripts that run in their browsers.
"""
