"""The table of the faults that tests inject, by the promise that each puts to the test.

Kinds: A signals, B output, C cached files, D clocks and pids, E containers and homes, F exit codes, G bits that rot, H
bad input, I a directory from a stranger, J Ray itself, K processes killed, disks full, trials that fail. A sweep under
a random mix of them is `python -m benchmarks.faults`.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
_LAUNCH = "tests/sweeper/launch/test_launch.py::"
_KILLED = "tests/sweeper/launch/test_killed.py::"
_APART = "tests/sweeper/executors/test_apart.py::"
_SIGNALS = "tests/sweeper/launch/test_signals.py::"
_RECONCILE = "tests/sweeper/launch/test_reconcile.py::"
_VERIFY = "tests/sweeper/launch/test_verify.py::"
_STORE = "tests/sweeper/store/test_store.py::"
_DAMAGE = "tests/sweeper/store/test_damage.py::"
_STRANGERS = "tests/sweeper/store/test_strangers.py::"
_BROKER = "tests/sweeper/queue/test_broker.py::"
_JOURNAL = "tests/sweeper/queue/test_journal.py::"
_KERNEL = "tests/model/backends/native/test_build.py::"
_CACHE = "tests/tasks/data/test_cache.py::"
FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "Whatever is killed or full, the same command goes on": [
        ("K", "lanes killed: child processes, Ray's workers", _KILLED + "test_killed_lanes"),
        ("K", "launchers killed, one after the other", _KILLED + "test_killed_launchers"),
        (
            "K",
            "a launcher killed while networks train",
            _LAUNCH + "test_a_launcher_killed_half_way_loses_and_repeats_nothing",
        ),
        ("K", "nodes of a cluster lost", _KILLED + "test_lost_nodes"),
        (
            "K",
            "a disk that is full, or read-only, under the lanes",
            _KILLED + "test_storage_that_fails_stops_the_sweep_with_its_reason_and_loses_nothing",
        ),
        (
            "K",
            "a disk that is full under the launcher",
            _KILLED + "test_a_launcher_that_cannot_write_stops_with_the_reason",
        ),
        ("K", "a disk that is full before the start", _RECONCILE + "test_preflight_refuses_a_full_disk"),
        (
            "K",
            "a merge of part files killed",
            _STORE + "test_a_compaction_killed_before_it_deletes_counts_no_row_twice",
        ),
        (
            "K",
            "a program of another version that goes on",
            _RECONCILE + "test_a_launch_goes_on_after_an_upgrade_with_rows_of_both_versions_and_names_them",
        ),
        (
            "K",
            "a search killed",
            "tests/sweeper/launch/test_search_loop.py::test_a_killed_search_goes_on_from_the_store_alone",
        ),
        ("K", "a Slurm job preempted", "tests/cluster/kinds/test_slurm_run.py::test_a_preempted_job_resumes"),
        ("K", "a random mix of faults", _KILLED + "test_a_random_mix_of_faults_leaves_every_trial_exactly_one_row"),
    ],
    "A failure costs its own trial alone": [
        (
            "K",
            "trials that raise, diverge or want too much memory",
            _LAUNCH + "test_trials_that_fail_are_rows_with_a_reason_and_null_metrics",
        ),
        (
            "K",
            "a trial that kills its lane, each time",
            _LAUNCH + "test_a_lane_that_dies_gives_its_trial_back_but_not_for_ever",
        ),
        ("K", "a trial over its time limit", _RECONCILE + "test_a_trial_over_its_time_limit_ends_as_timed_out"),
        ("K", "out of memory", _RECONCILE + "test_out_of_memory_stops_only_its_trial_and_gets_the_whole_host"),
        ("K", "trials that all fail alike", _RECONCILE + "test_a_poisoned_sweep_stops_itself_and_can_be_retried"),
        (
            "K",
            "a lane that dies with several trials in hand",
            _BROKER + "test_with_several_trials_in_hand_none_is_blamed_but_each_runs_by_itself_afterwards",
        ),
        ("K", "a host lost", _BROKER + "test_a_lost_host_is_a_preemption_and_uses_up_nothing"),
    ],
    "Signals are the launcher's alone": [
        (
            "A",
            "TERM and HUP to the whole group",
            _SIGNALS + "test_a_signal_to_the_whole_group_saves_blames_nobody_and_is_gone_on_from",
        ),
        ("A", "Ctrl-C while lanes start", _SIGNALS + "test_ctrl_c_while_lanes_start_is_no_traceback"),
        ("A", "Ctrl-C once", _LAUNCH + "test_ctrl_c_drains_and_says_how_to_go_on"),
        ("A", "Ctrl-C twice", _LAUNCH + "test_ctrl_c_twice_saves_and_leaves_and_the_next_launch_goes_on"),
    ],
    "What is printed may get lost, and nothing else": [
        ("B", "a reader that goes away", _SIGNALS + "test_a_reader_that_goes_away_costs_lines_alone"),
        (
            "B",
            "a log on a full disk",
            "tests/sweeper/test_output.py::test_a_full_disk_and_a_reader_that_has_gone_cost_lines_alone",
        ),
        (
            "B",
            "a reader that does not read",
            "tests/sweeper/test_output.py::test_a_reader_that_does_not_read_is_waited_for_once",
        ),
        ("B", "a monitor that dies", _KILLED + "test_a_launcher_that_cannot_write_stops_with_the_reason"),
        (
            "B",
            "a writer that dies",
            "tests/sweeper/lane/test_writer.py::test_any_fault_of_the_thread_is_raised_in_the_lane_and_nothing_is_reported",
        ),
    ],
    "What is cached is checked, not trusted": [
        ("C", "a kernel that is cut or empty", _KERNEL + "test_a_damaged_library_is_compiled_anew_once"),
        ("C", "a compiler with a launcher and options", _KERNEL + "test_a_compiler_may_have_a_launcher_and_options"),
        (
            "C",
            "a text replaced by one of equal size and time",
            _CACHE + "test_a_file_replaced_by_one_of_equal_size_and_time_is_another_file",
        ),
        ("C", "damaged data and notes in the cache", _CACHE + "test_a_damaged_file_is_made_anew_once"),
        (
            "C",
            "other data under the same path between two launches",
            _RECONCILE + "test_rows_of_other_data_are_told_though_nothing_is_left_to_run",
        ),
        (
            "C",
            "a damaged checkpoint",
            "tests/sweeper/training/test_training.py::test_a_damaged_checkpoint_counts_as_none_names_its_file_and_changes_no_number",
        ),
        (
            "C",
            "a warning in every lane",
            "tests/sweeper/launch/test_warnings.py::test_a_warning_of_every_trial_is_printed_once_and_the_back_end_is_named",
        ),
    ],
    "A launch is not called dead by comparing two clocks": [
        (
            "D",
            "a clock off by five minutes, a process namespace",
            _JOURNAL + "test_a_shifted_clock_and_a_namespace_of_its_own_hide_no_launch",
        ),
        ("D", "a silent launcher", _JOURNAL + "test_a_process_seen_from_here_lives_however_long_it_is_silent"),
        (
            "D",
            "another host's clock ahead",
            _JOURNAL + "test_what_changes_between_two_looks_lives_whatever_the_clocks_say",
        ),
        ("D", "a dead launcher", _RECONCILE + "test_what_a_killed_launcher_ran_is_run_by_the_next_at_once"),
        (
            "D",
            "a dead launcher elsewhere",
            _RECONCILE + "test_what_a_launcher_elsewhere_ran_is_run_once_that_one_has_fallen_silent",
        ),
        ("D", "two launches at the same time", _RECONCILE + "test_two_people_may_extend_one_directory_at_once"),
        (
            "D",
            "two launches of one sweep at the same moment",
            _RECONCILE + "test_of_two_launches_that_begin_at_the_same_moment_the_later_one_says_so",
        ),
        ("D", "a broker that was stopped", _BROKER + "test_a_pause_of_the_broker_itself_is_no_lanes_silence"),
        (
            "D",
            "a lane that comes back",
            _BROKER + "test_a_lane_given_up_that_finished_its_trial_counts_though_another_holds_it",
        ),
    ],
    "What cannot work is refused before the first trial": [
        (
            "E",
            "limits of cgroups",
            "tests/cluster/attach/test_machine.py::test_version_2_takes_the_tightest_group_above",
        ),
        ("E", "half a core", "tests/sweeper/lane/test_options.py::test_a_container_of_half_a_core_gets_one_lane"),
        (
            "E",
            "no home",
            "tests/sweeper/test_home.py::test_a_launch_without_a_home_trains_and_says_where_its_caches_are",
        ),
        (
            "E",
            "a long TMPDIR",
            "tests/sweeper/test_home.py::test_ray_gets_a_temporary_directory_that_its_sockets_fit_into",
        ),
        (
            "H",
            "grids that nobody can mean",
            "tests/sweeper/plan/test_bad_input.py::test_a_grid_that_cannot_be_meant_is_refused_with_place_value_and_limit",
        ),
        (
            "H",
            "a file of endless length",
            "tests/sweeper/plan/test_bad_input.py::test_a_file_is_read_no_further_than_a_grid_can_be_long",
        ),
        (
            "H",
            "data of one's own that cannot be used",
            "tests/sweeper/launch/test_warnings.py::test_data_that_cannot_be_loaded_are_refused_and_leave_nothing_behind",
        ),
        (
            "H",
            "options that nobody can mean",
            "tests/sweeper/test_bad_options.py::test_numbers_that_cannot_be_meant_are_usage_errors",
        ),
        (
            "H",
            "a host that is an option",
            "tests/cluster/profiles/test_profile.py::test_no_value_of_a_profile_becomes_a_command",
        ),
    ],
    "The exit code tells how it ended": [
        (
            "F",
            "trials that fail, time that is up, interruptions",
            _RECONCILE + "test_a_script_learns_from_the_exit_code_how_a_launch_ended",
        ),
        (
            "F",
            "the results directory deleted in the middle",
            _RECONCILE + "test_a_results_directory_deleted_in_the_middle_is_no_success_and_is_not_made_anew",
        ),
        (
            "F",
            "a terminal that lacks a character",
            "tests/sweeper/test_errors.py::test_what_a_terminal_cannot_show_is_replaced",
        ),
        (
            "F",
            "a fault of the program",
            "tests/sweeper/test_errors.py::test_a_fault_of_ours_is_not_shown_as_the_users_mistake",
        ),
    ],
    "No damaged bit becomes a number, and no stranger's file an order": [
        (
            "G",
            "any bit of a part file",
            _DAMAGE + "test_whatever_byte_rots_the_part_is_named_and_no_altered_row_is_read",
        ),
        (
            "G",
            "a damaged part under every command",
            _DAMAGE + "test_commands_that_only_look_go_on_with_a_warning_and_those_that_conclude_refuse",
        ),
        (
            "G",
            "a damaged part, set aside",
            _VERIFY + "test_a_damaged_part_stops_a_launch_until_it_is_set_aside_and_its_trials_run_again",
        ),
        (
            "G",
            "rows that cannot be true",
            _VERIFY + "test_rows_that_cannot_be_true_are_named_with_the_command_that_replaces_them",
        ),
        ("I", "pipes in place of files", _STRANGERS + "test_a_pipe_in_place_of_a_file_is_named_and_not_waited_for"),
        ("I", "states of launches made up", _JOURNAL + "test_what_is_no_state_is_passed_over_and_cleared_away"),
        ("I", "a list that hides rows", _STRANGERS + "test_no_file_hides_the_rows_of_another"),
        (
            "I",
            "markup and escape sequences in rows",
            _STRANGERS + "test_reasons_are_printed_as_they_are_and_never_speak_to_the_terminal",
        ),
        ("I", "a planted kernel", _KERNEL + "test_what_another_user_put_there_is_not_run"),
        (
            "I",
            "half-open connections",
            "tests/analysis/dashboard/test_serve.py::test_connections_are_bounded_and_those_that_say_nothing_are_closed",
        ),
    ],
    "A Ray that fails is one line, and the next launch goes on": [
        ("J", "a start of Ray that fails", _SIGNALS + "test_ray_is_started_once_more_and_then_given_up_in_one_line"),
        ("J", "gcs or raylet killed", _APART + "test_a_part_that_dies_ends_it_whatever_it_waits_for"),
        ("J", "the process that runs Ray killed", _APART + "test_its_death_is_an_error_of_the_executor"),
        ("J", "the launcher killed under Ray", _APART + "test_a_killed_launcher_leaves_nothing"),
        ("J", "the broker's process killed", _APART + "test_a_broker_that_dies_is_an_error_of_the_executor"),
        (
            "J",
            "a cluster that goes for good",
            "tests/cluster/attach/test_lost_cluster.py::test_what_is_done_stays_and_the_next_launch_goes_on",
        ),
    ],
}
"""Promises of the page "How a sweep survives", each with its rows: kind, fault, test."""


def test_every_fault_of_the_table_has_its_test():
    listed = {test for rows in FAULTS.values() for _, _, test in rows}
    for file in {test.partition("::")[0] for test in listed} | {_KILLED.removesuffix("::")}:
        tests = {f"{file}::{node.name}" for node in ast.parse((ROOT / file).read_text()).body
                 if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}  # fmt: skip
        assert {test for test in listed if test.startswith(f"{file}::")} <= tests
        assert tests <= listed or f"{file}::" != _KILLED, "what is injected there is not in the table"


def test_every_promise_of_the_page_and_every_kind_is_put_to_the_test():
    promises = re.findall(r"^\d+\. \*\*(.+?)\*\*", (ROOT / "docs" / "faults.md").read_text(), re.MULTILINE)
    assert len(promises) == 10
    assert promises == list(FAULTS)
    assert {kind for rows in FAULTS.values() for kind, _, _ in rows} == set("ABCDEFGHIJK")
