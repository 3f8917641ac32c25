"""How results come about and are told: suites, runners, tables, reports, audits and measurements."""
