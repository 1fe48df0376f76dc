"""The test files that take longest. They start first, so that all pytest processes have work until the end."""

LONGEST_FILES = (
    *("docs/test_readme_load.py", "models/postgresql/test_broken_connections.py", "server/test_dashboard.py"),
    *("server/test_webhook.py", "server/test_openapi.py", "server/test_postgresql_outages.py"),
    *("models/moving/test_interrupted_move.py", "server/test_abuse.py", "load/soak/test_soak.py"),
    *("server/test_bulk.py", "load/bench/test_command.py", "load/bench/test_size_trials.py"),
    *("load/chaos/test_chaos.py", "server/test_power_loss.py", "load/chaos/test_second_server.py"),
    *("docs/test_readme_typed_in_order.py", "server/test_move.py", "docs/test_readme_proxies.py"),
    *("server/test_start.py", "server/test_function.py", "models/postgresql/test_plans.py", "server/test_storage.py"),
    *("server/test_stop.py", "load/test_end_to_end.py", "load/bench/test_stall_trial.py"),
    *("load/report/test_page_in_chromium.py", "server/test_access.py", "models/moving/test_move.py"),
    *("server/test_log.py", "server/test_events_of_servers.py", "load/cli/test_program.py"),
    *("server/test_waiting_of_servers.py", "load/chaos/test_postgresql.py", "docs/test_readme_pictures.py"),
    *("server/test_commands_of_servers.py", "server/test_events.py", "server/test_clock.py"),
    *("server/test_list_of_servers.py", "server/test_failover.py", "server/test_function_processes.py"),
    *("docs/test_readme_patroni.py", "load/chaos/test_cluster.py", "server/test_chart_ranges.py"),
    "docs/test_readme_balancer.py",
)
"""Paths in the folder `tests`, longest first. Each file takes at least 30 s if four processes share two busy CPUs."""
