"""The site database: engine, base of the tables, paging, migrations. Knows no domain."""
