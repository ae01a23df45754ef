"""From stored rows to fitted laws, reports and dashboards."""
