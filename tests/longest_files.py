"""The test files that take longest. They start first, so that all pytest processes have work until the end."""

LONGEST_FILES = (
    *("server/dashboard/test_connection.py", "server/dashboard/test_keys.py", "server/dashboard/test_layout.py"),
    *("load/chaos/test_chaos.py", "server/test_openapi.py", "server/test_webhook.py"),
    *("server/test_postgresql_outages.py", "models/postgresql/test_broken_connections.py", "server/test_abuse.py"),
    *("docs/test_readme_load.py", "server/test_commands_of_servers.py", "load/bench/test_command.py"),
    *("server/test_lost_servers.py", "server/test_events.py", "server/test_events_of_servers.py"),
    *("server/test_log.py", "server/test_power_loss.py", "docs/test_readme_typed_in_order.py"),
    *("server/test_backup.py", "server/test_clock.py", "load/chaos/injection/test_second_server.py"),
    *("docs/test_readme_proxies.py", "server/test_storage.py", "server/test_bulk.py"),
    *("server/test_waiting_of_servers.py", "server/test_failover.py", "load/bench/trials/test_sizes.py"),
    *("models/moving/test_interrupted_move.py", "server/test_access.py", "models/postgresql/test_plans.py"),
    *("docs/test_readme_patroni.py", "load/cli/test_program.py", "docs/test_readme_pictures.py"),
    *("load/report/test_page_in_chromium.py", "load/test_end_to_end.py", "server/test_alerts.py"),
    *("load/bench/trials/test_stalls.py", "server/dashboard/test_chart_ranges.py"),
)
"""Paths in the folder `tests`, longest first. Each file takes at least 30 s if four processes share two busy CPUs."""
