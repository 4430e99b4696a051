"""Run one command, or call one Python function, over many inputs, with as many hands as the machine has; never lose track of one.

    manyhands batch 'gzip -9 -kf {}' --glob '*.log'
    find . -name '*.png' -print0 | manyhands batch 'optipng {}' --null --timeout 60
    manyhands batch.call images:thumbnail --glob '*.png' -j 4
    manyhands batch.resume

That is what ``invoke -l`` and ``manyhands`` begin with. Every task is here: thin, and named in the table at the bottom. What it takes is
declared in ``lib/manyhands/options``, what it does is in ``lib/manyhands/handlers``; what is imported inside a task is what would
slow down ``invoke -l``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from invoke import Collection, Context

if (Path(__file__).parent / "lib" / "manyhands").is_dir():  # a checkout, perhaps one that is not installed
    sys.path.insert(0, str(Path(__file__).parent / "lib"))

from manyhands.cli import task
from manyhands.cli.runner import Utf8Local
from manyhands.cli.scenes import scene_tasks
from manyhands.options import admin as admin_options
from manyhands.options import batch as new_runs
from manyhands.options import cluster as cluster_options
from manyhands.options import cmd as cmds
from manyhands.options import host as machine
from manyhands.options import proc as processes
from manyhands.options import queue as queue_options
from manyhands.options import runs
from manyhands.options import tour as scenes
from manyhands.options import web as web_options
from manyhands.options.common import Json

# -- batch ---------------------------------------------------------------------------------------------------------------


@task(options=new_runs.CommandOptions, name="run", default=True)
def batch(_ctx: Context, options: new_runs.CommandOptions) -> int:
    """Run one command over many inputs: after --, from options, or from standard input.

    manyhands batch 'gzip -9 -kf {}' --glob 'logs/**/*.log' -j 4
    manyhands batch 'ping -c1 {host}' --csv hosts.csv --timeout 10 --retries 2
    manyhands batch 'sort {} | uniq -c > {.}.counts' --shell -- *.txt
    """
    from manyhands.handlers import batch

    return batch.new(options)


@task(options=new_runs.ScriptOptions, name="script")
def run_script(_ctx: Context, options: new_runs.ScriptOptions) -> int:
    """Run one Python script over many inputs, and import only once what it imports.

    manyhands batch.script process.py -- *.csv
    manyhands batch.script 'thumbnail.py --size 200 {} {.}.png' --glob 'photos/*.jpg' --timeout 30
    """
    from manyhands.handlers import batch_script

    return batch_script.run_script(options)


@task(options=new_runs.FunctionOptions, name="call")
def call_function(_ctx: Context, options: new_runs.FunctionOptions) -> int:
    """Call one Python function for many inputs, in processes, threads or an event loop; print what it returns as JSON.

    manyhands batch.call images:thumbnail --glob 'photos/*.png' -j 4 --timeout 30
    manyhands batch.call primes.py:is_prime --from numbers.txt --type int
    """
    from manyhands.handlers import batch_begin

    return batch_begin.call(options)


@task(options=new_runs.CompareOptions, name="compare")
def compare_backends(_ctx: Context, options: new_runs.CompareOptions) -> int:
    """Run a sample on each backend, at several widths, and say which to choose.

    manyhands batch.compare images:thumbnail --glob 'photos/*.png' --sample 40
    """
    from manyhands.handlers import batch_compare

    return batch_compare.compare_backends(options)


@task(options=runs.AgainOptions)
def resume(_ctx: Context, options: runs.AgainOptions) -> int:
    """Continue a run that was killed, stopped or halted: run the jobs that are not done.

    manyhands batch.resume nightly --jobs 2
    """
    from manyhands.handlers import batch

    return batch.again("rest", options)


@task(options=runs.AgainOptions)
def retry(_ctx: Context, options: runs.AgainOptions) -> int:
    """Run the failed jobs of a run again.

    manyhands batch.retry nightly
    """
    from manyhands.handlers import batch

    return batch.again("failed", options)


@task(options=runs.WatchOptions, name="watch")
def watch_run(_ctx: Context, options: runs.WatchOptions) -> int:
    """Show a run that goes on in another terminal, until it has ended; exit with its status.

    manyhands batch.watch nightly --output
    """
    from manyhands.handlers import batch_watch

    return batch_watch.watch(options)


@task(options=runs.StopRunOptions, name="stop")
def stop_run(_ctx: Context, options: runs.StopRunOptions) -> int:
    """Stop a run that is going on, or one job of it; what was not done is for batch.resume.

    manyhands batch.stop nightly --soon
    """
    from manyhands.handlers import batch_control

    return batch_control.stop(options)


@task(options=runs.RunningRun, name="pause")
def pause_run(_ctx: Context, options: runs.RunningRun) -> int:
    """Suspend all jobs of a run; batch.continue lets them go on."""
    from manyhands.handlers import batch_control

    return batch_control.pause(options, paused=True)


@task(options=runs.RunningRun, name="continue")
def continue_run(_ctx: Context, options: runs.RunningRun) -> int:
    """Let the jobs of a run go on that batch.pause has suspended."""
    from manyhands.handlers import batch_control

    return batch_control.pause(options, paused=False)


@task(options=runs.SetOptions, name="set")
def set_run(_ctx: Context, options: runs.SetOptions) -> int:
    """Change how many jobs of a run are done at once, or when it ends early, while it is going on.

    manyhands batch.set nightly --jobs 8
    """
    from manyhands.handlers import batch_control

    return batch_control.change(options)


@task(options=runs.WaitRunOptions, name="wait")
def wait_runs(_ctx: Context, options: runs.WaitRunOptions) -> int:
    """Wait for runs to end; exit with the first status of them that is not 0.

    manyhands batch.wait nightly --timeout 2h
    """
    from manyhands.handlers import batch_control

    return batch_control.wait(options)


@task(options=runs.ListOptions, name="list")
def list_(_ctx: Context, options: runs.ListOptions) -> None:
    """List the runs, newest first: id or name, when, ok, failed, left, how long, size on disk, state, what."""
    from manyhands.handlers import batch_runs

    batch_runs.list_runs(options)


@task(options=runs.ShowOptions)
def show(_ctx: Context, options: runs.ShowOptions) -> None:
    """Show a run and its jobs.

    manyhands batch.show nightly --failed --output
    manyhands batch.show nightly --job 13
    """
    from manyhands.handlers import batch_runs

    batch_runs.show(options)


@task(options=runs.ExportOptions)
def export(_ctx: Context, options: runs.ExportOptions) -> None:
    """Write a run's jobs for other programs, or the whole run to a file.

    manyhands batch.export nightly --format csv > nightly.csv
    manyhands batch.export nightly --archive nightly.zip
    """
    from manyhands.handlers import batch_runs

    batch_runs.export_run(options)


@task(options=runs.ImportOptions, name="import")
def import_(_ctx: Context, options: runs.ImportOptions) -> None:
    """Make a run of a file of batch.export --archive.

    manyhands batch.import nightly.zip
    manyhands batch.import restored.zip --run-id check-1 --trust
    """
    from manyhands.handlers import batch_carry

    batch_carry.import_archive(options)


@task(options=runs.MergeOptions)
def merge(_ctx: Context, options: runs.MergeOptions) -> None:
    """Make one run of all its shards (batch --shard K/N).

    manyhands batch.merge part-1 part-2 part-3 --run-id whole
    """
    from manyhands.handlers import batch_carry

    batch_carry.merge_runs(options)


@task(options=runs.ReportOptions)
def report(_ctx: Context, options: runs.ReportOptions) -> int:
    """Write what a run did, as one page for a browser, or as a picture or Markdown: timeline, run times, failures, all jobs.

    manyhands batch.report nightly --open
    manyhands batch.report nightly --output nightly.png
    """
    from manyhands.handlers import batch_report

    return batch_report.report(options)


@task(options=runs.DiffOptions)
def diff(_ctx: Context, options: runs.DiffOptions) -> int:
    """Compare two runs by their inputs; exit with 1 if something failed anew.

    manyhands batch.diff monday tuesday
    """
    from manyhands.handlers import batch_diff

    return batch_diff.diff(options)


@task(options=runs.RemoveOptions)
def remove(_ctx: Context, options: runs.RemoveOptions) -> int:
    """Delete runs and their output, or all old ones, after showing them and asking."""
    from manyhands.handlers import batch_runs

    return batch_runs.remove(options)


# -- the live page -------------------------------------------------------------------------------------------------------


@task(options=web_options.ServeOptions)
def serve(_ctx: Context, options: web_options.ServeOptions) -> int:
    """Serve a page that shows the runs of this user live, to this user alone, with buttons to stop, pause and repeat them.

    manyhands web.serve --open
    manyhands web.serve --unix ~/manyhands.sock --read-only
    """
    from manyhands.handlers import web

    return web.serve(options)


# -- commands ------------------------------------------------------------------------------------------------------------


@task(options=cmds.ShellLineOptions)
def output(_ctx: Context, options: cmds.ShellLineOptions) -> int:
    """Print what a shell line prints, stdout and stderr together; exit with its status.

    manyhands cmd.output 'ls /tmp | wc -l'
    """
    from manyhands.handlers import cmd

    return cmd.show_output(options)


@task(options=cmds.ShellLineOptions)
def status(_ctx: Context, options: cmds.ShellLineOptions) -> int:
    """Print the exit status of a shell line, then what it printed; exit with 0.

    manyhands cmd.status 'grep root /etc/passwd'
    """
    from manyhands.handlers import cmd

    return cmd.show_status(options)


@task(options=cmds.CheckOptions, name="check")
def check_output(_ctx: Context, options: cmds.CheckOptions) -> int:
    """Print the stdout of a command, byte for byte, without a shell unless --shell; exit with its status.

    manyhands cmd.check 'date -u'
    manyhands cmd.check --timeout 10m -- rsync -a src/ backup/
    """
    from manyhands.handlers import cmd

    return cmd.check(options)


@task(options=cmds.CallOptions)
def call(_ctx: Context, options: cmds.CallOptions) -> int:
    """Let a command have the terminal, and exit with its status.

    manyhands cmd.call 'vi notes.txt'
    """
    from manyhands.handlers import cmd

    return cmd.call(options)


@task(options=cmds.SystemOptions)
def system(_ctx: Context, options: cmds.SystemOptions) -> int:
    """Run a shell line by os.system, and exit with its status, decoded.

    manyhands cmd.system 'echo $HOME'
    """
    from manyhands.handlers import cmd

    return cmd.call_system(options)


@task(options=cmds.PipeOptions)
def pipe(_ctx: Context, options: cmds.PipeOptions) -> int:
    """Run a pipeline such as 'ls -l | wc' without a shell; fail when any stage fails.

    manyhands pipe 'cut -d" " -f1 access.log | sort | uniq -c'
    manyhands pipe 'ls -l | wc' --tee 1=listing.txt --verbose
    """
    from manyhands.handlers import cmd

    return cmd.run_pipe(options)


@task(options=cmds.FeedOptions)
def feed(_ctx: Context, options: cmds.FeedOptions) -> int:
    """Give a command its input, and print its output.

    manyhands cmd.feed 'tr a-z A-Z' --text hello
    """
    from manyhands.handlers import cmd

    return cmd.feed(options)


@task(options=cmds.AnswerOptions)
def answer(_ctx: Context, options: cmds.AnswerOptions) -> int:
    """Answer the prompts of a program.

    manyhands cmd.answer ./install.sh --expect 'Continue[?]' --reply y --pty
    """
    from manyhands.handlers import cmd

    return cmd.converse(options)


@task(options=cmds.WatchOptions)
def watch(_ctx: Context, options: cmds.WatchOptions) -> int:
    """Run a command again and again, and show what changes; stop at a condition.

    manyhands cmd.watch 'df -h /' --every 10 --until-change
    """
    from manyhands.handlers import cmd_repeat

    return cmd_repeat.watch_line(options)


@task(options=cmds.RetryOptions, name="retry")
def retry_command(_ctx: Context, options: cmds.RetryOptions) -> int:
    """Run a command until it succeeds; exit with the status of the last try.

    manyhands cmd.retry 'curl -fsS localhost:8080' --times 5 --backoff 2 --timeout 30
    """
    from manyhands.handlers import cmd_repeat

    return cmd_repeat.retry_line(options)


@task(options=cmds.CompareToolsOptions)
def compare(_ctx: Context, options: cmds.CompareToolsOptions) -> int:
    """Run a shell line by subprocess, sh, invoke, click, doit and others; compare the results and the times

    manyhands cmd.compare 'seq 1000 | wc -l'
    """
    from manyhands.handlers import cmd_repeat

    return cmd_repeat.compare_line(options)


# -- processes -----------------------------------------------------------------------------------------------------------


@task(options=processes.ListProcessesOptions, name="list")
def list_processes(_ctx: Context, options: processes.ListProcessesOptions) -> int:
    """List processes: all, or those with the given name, user, port, command line and age.

    manyhands proc.list --user www-data --sort memory --top 5
    """
    from manyhands.handlers import proc

    return proc.show_list(options)


@task(options=processes.TreeOptions)
def tree(_ctx: Context, options: processes.TreeOptions) -> int:
    """Show processes below their parents, with their pids.

    manyhands proc.tree 1
    """
    from manyhands.handlers import proc

    return proc.show_tree(options)


@task(options=processes.ShowProcessOptions, name="show")
def show_process(_ctx: Context, options: processes.ShowProcessOptions) -> int:
    """Show all about a process: family, CPU, memory, files, sockets, limits."""
    from manyhands.handlers import proc

    return proc.show_process(options)


@task(options=processes.TopOptions)
def top(_ctx: Context, options: processes.TopOptions) -> int:
    """Show, again and again, which processes use most."""
    from manyhands.handlers import proc_top

    return proc_top.show_top(options)


@task(options=processes.StopOptions)
def stop(_ctx: Context, options: processes.StopOptions) -> int:
    """Stop processes and all their descendants: TERM, then KILL; exit with 0 if all are gone, 1 if some are still running or hidden from this user, 3 if none matches.

    manyhands proc.stop --port 8080
    manyhands proc.stop --name 'work*' --older-than 2h --dry-run
    """
    from manyhands.handlers import proc

    return proc.stop(options)


@task(options=processes.PortOptions, name="port")
def who_listens(_ctx: Context, options: processes.PortOptions) -> int:
    """Show who listens on a port.

    manyhands proc.port 8080
    """
    from manyhands.handlers import proc

    return proc.show_port(options)


@task(options=processes.WaitOptions)
def wait(_ctx: Context, options: processes.WaitOptions) -> int:
    """Wait for processes to end, a port, a file, or a line in a log.

    manyhands proc.wait --port 8080 --timeout 30
    manyhands proc.wait --file app.log --log 'ready to serve' --new
    """
    from manyhands.handlers import proc

    return proc.wait(options)


@task(options=Json)
def limits(_ctx: Context, options: Json) -> int:
    """Show what a program started here may use: cores, memory, files, processes."""
    from manyhands.handlers import proc

    return proc.show_limits(json=options.json)


@task(options=Json)
def orphans(_ctx: Context, options: Json) -> int:
    """Show processes that were adopted because their parent has ended; leaders of sessions (services) do not count."""
    from manyhands.handlers import proc

    return proc.show_orphans(json=options.json)


@task(options=Json)
def zombies(_ctx: Context, options: Json) -> int:
    """Show zombies, which their parents have not collected, and what to do about them."""
    from manyhands.handlers import proc

    return proc.show_zombies(json=options.json)


# -- the machine ---------------------------------------------------------------------------------------------------------


@task(options=machine.DrawnLookOptions)
def info(_ctx: Context, options: machine.DrawnLookOptions) -> None:
    """Show what this machine is, has, and lets us use."""
    from manyhands.handlers import host

    host.show_info(options)


@task(options=machine.CpuOptions)
def cpu(_ctx: Context, options: machine.CpuOptions) -> None:
    """Show how busy the CPUs are, and with what."""
    from manyhands.handlers import host

    host.show_cpu(options)


@task(options=machine.DrawnLookOptions)
def memory(_ctx: Context, options: machine.DrawnLookOptions) -> None:
    """Show what of memory and swap is used, as free does."""
    from manyhands.handlers import host

    host.show_memory(options)


@task(options=machine.DrawnLookOptions)
def disks(_ctx: Context, options: machine.DrawnLookOptions) -> None:
    """Show what of the file systems is used, as df does."""
    from manyhands.handlers import host

    host.show_disks(options)


@task(options=machine.DrawnLookOptions)
def network(_ctx: Context, options: machine.DrawnLookOptions) -> None:
    """Show the network interfaces: addresses, traffic, errors."""
    from manyhands.handlers import host

    host.show_network(options)


@task(options=machine.DrawnLookOptions)
def sensors(_ctx: Context, options: machine.DrawnLookOptions) -> None:
    """Show temperatures, fans and battery."""
    from manyhands.handlers import host

    host.show_sensors(options)


@task(options=machine.DrawnLookOptions)
def pressure(_ctx: Context, options: machine.DrawnLookOptions) -> None:
    """Show how long programs waited for CPU, memory and disks (Linux PSI)."""
    from manyhands.handlers import host

    host.show_pressure(options)


@task(options=machine.LookOptions)
def time(_ctx: Context, options: machine.LookOptions) -> None:
    """Show the local time, UTC, and how long the machine is up."""
    from manyhands.handlers import host

    host.show_time(options)


@task(options=machine.LookOptions)
def identity(_ctx: Context, options: machine.LookOptions) -> None:
    """Show who this process is: pid, folder, user, groups, umask."""
    from manyhands.handlers import host

    host.show_identity(options)


@task(options=machine.CheckHostOptions, name="check", monitor=True)
def check_host(_ctx: Context, options: machine.CheckHostOptions) -> int:
    """Check the machine for a monitor: exit with 0 if all is well, 1 warning, 2 critical, 3 unknown, as Nagios plugins do.

    manyhands host.check --load 4 --memory 80%,90% --disk /=95%
    """
    from manyhands.handlers import host

    return host.show_check(options)


@task(options=Json)
def doctor(_ctx: Context, options: Json) -> int:
    """Check whether this machine can do what manyhands needs; say what follows if not, and the way out."""
    from manyhands.handlers import host

    return host.show_doctor(json=options.json)


@task(options=machine.ForkOptions)
def fork_demo(_ctx: Context, options: machine.ForkOptions) -> int:
    """Fork, and show what parent and child see of each other."""
    from manyhands.handlers import host

    return host.show_fork(options)


# -- queues --------------------------------------------------------------------------------------------------------------


@task(options=queue_options.WorkOptions)
def work(_ctx: Context, options: queue_options.WorkOptions) -> int:
    """Be a consumer: do jobs that batches with --backend redis put into a queue, until Ctrl-C; running jobs are finished first.

    manyhands queue.work --broker redis://127.0.0.1:6379/0 --slots 8 --allow 'images:*' --allow-commands
    """
    from manyhands.handlers import queue

    return queue.work(options)


@task(options=queue_options.SubmitOptions)
def submit(_ctx: Context, options: queue_options.SubmitOptions) -> int:
    """Give all jobs of a batch to a queue and end: consumers do them, and batch.resume collects what became of them, at any time.

    manyhands queue.submit 'convert {} {.}.png' --broker redis://127.0.0.1:6379/0 --run-id night -- *.tif
    """
    from manyhands.handlers import queue_submit

    return queue_submit.submit(options)


@task(options=queue_options.SubmitCallOptions, name="submit-call")
def submit_call(_ctx: Context, options: queue_options.SubmitCallOptions) -> int:
    """Give all calls of a Python function to a queue and end: consumers do them, and batch.resume collects what became of them.

    manyhands queue.submit-call images:thumbnail --broker redis://127.0.0.1:6379/0 --run-id night --glob 'photos/*.jpg'
    """
    from manyhands.handlers import queue_submit

    return queue_submit.submit(options)


@task(options=queue_options.StatusOptions, name="status")
def show_queue(_ctx: Context, options: queue_options.StatusOptions) -> int:
    """Show the consumers of a broker, and what waits and runs, for each run; exit with 1 if there is no consumer."""
    from manyhands.handlers import queue

    return queue.status(options)


@task(options=queue_options.DrainOptions)
def drain(_ctx: Context, options: queue_options.DrainOptions) -> int:
    """Have consumers finish the jobs that they have, and exit.

    manyhands queue.drain web1-812 --broker redis://127.0.0.1:6379/0
    """
    from manyhands.handlers import queue

    return queue.drain(options)


@task(options=queue_options.PurgeOptions)
def purge(_ctx: Context, options: queue_options.PurgeOptions) -> int:
    """Remove the jobs that wait for a consumer, after asking; their batches report them as cancelled.

    manyhands queue.purge nightly --dry-run
    """
    from manyhands.handlers import queue

    return queue.purge(options)


# -- clusters ------------------------------------------------------------------------------------------------------------


@task(options=cluster_options.UpOptions)
def up(_ctx: Context, options: cluster_options.UpOptions) -> int:
    """Start a Dask cluster on this machine, for batches with --backend dask --cluster up; it runs until cluster.down.

    manyhands cluster.up --workers 4
    """
    from manyhands.handlers import cluster

    return cluster.up(options)


@task(options=cluster_options.ClusterStatusOptions, name="status")
def show_cluster(_ctx: Context, options: cluster_options.ClusterStatusOptions) -> int:
    """Show the cluster of cluster.up, and what each of its workers does; exit with 1 if there is none."""
    from manyhands.handlers import cluster

    return cluster.status(options)


@task
def dashboard(_ctx: Context) -> int:
    """Print the address of the cluster's dashboard."""
    from manyhands.handlers import cluster

    return cluster.dashboard()


@task
def down(_ctx: Context) -> int:
    """End the cluster of cluster.up, and what it runs."""
    from manyhands.handlers import cluster

    return cluster.down()


# -- programs for administrators -----------------------------------------------------------------------------------------


@task(options=admin_options.BackupOptions, monitor=True)
def backup(_ctx: Context, options: admin_options.BackupOptions) -> int:
    """Back up a folder by rsync, with hard links to what has not changed; restore a sample, and delete old backups by rule.

    manyhands admin.backup /home /backup/home --daily 7 --weekly 4 --monthly 12
    manyhands admin.backup /home /backup/home --keep 7 --dry-run
    """
    from manyhands.admin.backup import backup

    return backup(options)


@task(options=admin_options.CertificatesOptions, monitor=True)
def certificates(_ctx: Context, options: admin_options.CertificatesOptions) -> int:
    """Show which certificates expire soon, of hosts and of files, and which hosts a careful client would not trust.

    manyhands admin.certificates www.example.org mail.example.org:25 /etc/letsencrypt/live --warn 21d
    """
    from manyhands.admin.certificates import certificates

    return certificates(options)


@task(options=admin_options.ChecksumsOptions, monitor=True)
def checksums(_ctx: Context, options: admin_options.ChecksumsOptions) -> int:
    """Write or verify the checksums of all files of a folder, in parallel, as sha256sum prints and checks them.

    manyhands admin.checksums /srv/archive --write archive.sha256
    manyhands admin.checksums /srv/archive --verify archive.sha256
    """
    from manyhands.admin.checksums import checksums

    return checksums(options)


@task(options=admin_options.DuplicatesOptions, monitor=True)
def duplicates(_ctx: Context, options: admin_options.DuplicatesOptions) -> int:
    """Find files with the same content, and how much could be saved without the copies; nothing is changed.

    manyhands admin.duplicates /srv/photos /srv/backup --min-size 1M
    """
    from manyhands.admin.duplicates import duplicates

    return duplicates(options)


@task(options=admin_options.DiskOptions, monitor=True)
def disk(_ctx: Context, options: admin_options.DiskOptions) -> int:
    """Show what fills a disk: folders, files, ages, owners, deleted files that are still open.

    manyhands admin.disk /var
    """
    from manyhands.admin.disk import disk

    return disk(options)


@task(options=admin_options.ListenersOptions, monitor=True, name="listeners")
def show_listeners(_ctx: Context, options: admin_options.ListenersOptions) -> int:
    """Show who listens where, since when, and what is new since it was remembered.

    manyhands admin.listeners --remember
    """
    from manyhands.admin.listeners import show_listeners

    return show_listeners(options)


@task(options=admin_options.LogsOptions, monitor=True)
def logs(_ctx: Context, options: admin_options.LogsOptions) -> int:
    """Compress old logs, and remove older ones; shows what it would do, and asks, or does it with --yes.

    manyhands admin.logs /var/log/app --compress-after 2d --remove-after 90d --yes
    """
    from manyhands.admin.logs import logs

    return logs(options)


@task(options=admin_options.ReachOptions, monitor=True)
def reach(_ctx: Context, options: admin_options.ReachOptions) -> int:
    """Try which hosts answer, and how fast: TCP connections, which need no privileges.

    manyhands admin.reach web1:443 web2:443 db1:5432 --warn 100ms
    """
    from manyhands.admin.reach import reach

    return reach(options)


@task(options=admin_options.RepositoriesOptions, monitor=True)
def repositories(_ctx: Context, options: admin_options.RepositoriesOptions) -> int:
    """Show the git repositories below folders: what is changed, ahead, behind, stashed; fetched at once with --fetch.

    manyhands admin.repositories ~/src /srv/checkouts --fetch
    """
    from manyhands.admin.repositories import repositories

    return repositories(options)


@task(options=admin_options.ServicesOptions, monitor=True)
def services(_ctx: Context, options: admin_options.ServicesOptions) -> int:
    """Show which services have failed, with their last lines: as systemd knows them, else by syslog files.

    manyhands admin.services --since 12h
    """
    from manyhands.admin.services import services

    return services(options)


@task(options=admin_options.TimersOptions, monitor=True)
def timers(_ctx: Context, options: admin_options.TimersOptions) -> int:
    """Show cron jobs and timers: what ran last, what failed or did not begin, what is next.

    manyhands admin.timers
    """
    from manyhands.admin.timers import timers

    return timers(options)


@task(options=admin_options.UpdatesOptions, monitor=True)
def updates(_ctx: Context, options: admin_options.UpdatesOptions) -> int:
    """List packages with pending security updates (Debian, Ubuntu).

    manyhands admin.updates --all
    """
    from manyhands.admin.updates import updates

    return updates(options)


# -- the tour ------------------------------------------------------------------------------------------------------------


@task(options=scenes.AllScenesOptions, name="all")
def all_scenes(_ctx: Context, options: scenes.AllScenesOptions) -> int:
    """Play every scene, quickly, and print what was seen: a check of this machine.

    manyhands tour.all --topic threads
    """
    from manyhands.tour import handlers

    return handlers.show_all(options)


@task(options=scenes.TopicOptions, name="list")
def list_scenes(_ctx: Context, options: scenes.TopicOptions) -> None:
    """List the scenes by topic, with what they need."""
    from manyhands.tour import handlers

    handlers.show_list(options)


@task(options=scenes.CompareWaysOptions, name="compare")
def compare_ways(_ctx: Context, options: scenes.CompareWaysOptions) -> int:
    """Do one piece of work in every way, side by side: times, memory, speed-up.

    manyhands tour.compare --work io
    """
    from manyhands.tour import handlers

    return handlers.compare_ways(options)


# -- development ---------------------------------------------------------------------------------------------------------


def _script(ctx: Context, line: str) -> None:
    with ctx.cd(Path(__file__).parent):
        ctx.run(line, pty=False)


@task(help={"tests": "run the tests, too (default)"})
def check(ctx: Context, tests: bool = True) -> None:
    """Run all checks: tests, lint, types, documentation, workflows, and the wheel in a clean environment."""
    if tests:
        _script(ctx, "scripts/test")
    _script(ctx, "scripts/check")


@task(listed=False)
def lint(ctx: Context) -> None:
    """Check the style of the code, and its format."""
    _script(ctx, "scripts/check lint")


@task(listed=False)
def types(ctx: Context) -> None:
    """Check the types."""
    _script(ctx, "scripts/check types")


@task(listed=False)
def docs(ctx: Context) -> None:
    """Build the documentation as a site in build/docs; a warning is a failure."""
    _script(ctx, "scripts/check docs")


@task(listed=False)
def workflows(ctx: Context) -> None:
    """Check what GitHub reads: workflows, forms, dependabot; and the hooks of pre-commit."""
    _script(ctx, "scripts/check workflows")


@task(listed=False)
def wheel(ctx: Context) -> None:
    """Build the wheel and the source distribution in dist/, and use the wheel in a clean environment."""
    _script(ctx, "scripts/check wheel")


@task(help={"fast": "without the slow ones", "sampled": "of those that prove more of the same, a tenth, as CI does"})
def test(ctx: Context, fast: bool = False, sampled: bool = False) -> None:
    """Run the tests on this checkout."""
    _script(ctx, f"scripts/test{' --sampled' if sampled else ' --fast' if fast else ''}")


@task(listed=False, help={"coverage": "note in coverage/ which lines they run"})
def test_wheel(ctx: Context, coverage: bool = False) -> None:
    """Run the tests on the wheel in dist/, beside a copy of this checkout that has no lib/."""
    _script(ctx, f"scripts/test-wheel dist/*.whl{' --cov=manyhands --cov-report=' if coverage else ''}")


@task(listed=False)
def coverage(ctx: Context) -> None:
    """Combine what dev.test-wheel has noted in coverage/, and show the lines that no test runs."""
    _script(ctx, "scripts/coverage")


@task(listed=False)
def hooks(ctx: Context) -> None:
    """Let git check each commit, by pre-commit and the programs in .venv."""
    _script(ctx, "scripts/check lint && .venv/bin/pre-commit install")


@task(
    metavar={"log": "FILE", "rounds": "COUNT"},
    help={
        "log": "the file that all output goes to (default: soak.log)",
        "rounds": "run the tests so many times, each time in another order (default: 3)",
        "kills": "kill so many runs at random points (default: 200)",
    },
)
def soak(ctx: Context, log: str = "soak.log", rounds: int = 3, kills: int = 200) -> None:
    """Run the tests again and again with four busy loops beside them, then random kills, the simulator and the tour; takes three hours."""
    from shlex import quote

    path = Path(log).absolute()
    with ctx.cd(Path(__file__).parent):
        ctx.run(f"scripts/soak {quote(str(path))} {rounds} {kills}")


@task(listed=False)
def manual(_ctx: Context) -> None:
    """Print the manual page, which the wheel ships.

    manyhands dev.manual | man -l -
    """
    from manyhands import __version__
    from manyhands.cli.manual import manual as page

    print(page(namespace, "manyhands", __version__), end="")  # noqa: T201 - that is what it is for


@task(
    listed=False,
    help={"seeds": "how many (default: 1000)", "first": "the first of them (default: 0); one that fails is printed"},
)
def simulate(ctx: Context, seeds: int = 1000, first: int = 0) -> None:
    """Simulate whole runs, their crashes and their disks; a seed that breaks a promise is printed, and repeats it."""
    here = Path(__file__).parent
    paths = f"{here / 'lib'}:{here / 'tests'}"
    ctx.run(f"{sys.executable} -m simulation --seeds {seeds} --first {first}", env={"PYTHONPATH": paths})


# -- the table -----------------------------------------------------------------------------------------------------------

batches = Collection(
    "batch",
    batch,
    run_script,
    call_function,
    compare_backends,
    resume,
    retry,
    watch_run,
    wait_runs,
    stop_run,
    pause_run,
    continue_run,
    set_run,
    list_,
    show,
    report,
    diff,
    export,
    import_,
    merge,
    remove,
)

commands = Collection(
    "cmd", output, status, check_output, call, system, pipe, feed, answer, watch, retry_command, compare
)
procs = Collection("proc", list_processes, tree, show_process, top, stop, wait, who_listens, orphans, zombies, limits)
hosts = Collection("host", info, cpu, memory, disks, network, sensors, pressure, time, identity, check_host, doctor)
admin = Collection(
    "admin",
    backup,
    certificates,
    checksums,
    disk,
    duplicates,
    show_listeners,
    logs,
    reach,
    repositories,
    services,
    timers,
    updates,
)
queues = Collection("queue", work, submit, submit_call, show_queue, drain, purge)
clusters = Collection("cluster", up, show_cluster, dashboard, down)
pages = Collection("web", serve)
tour = Collection("tour", all_scenes, list_scenes, compare_ways, *scene_tasks())
tour.add_task(all_scenes, "check")
dev = Collection(
    "dev", check, test, lint, types, docs, workflows, wheel, test_wheel, coverage, hooks, soak, manual, simulate
)

namespace = Collection(batches, pages, commands, procs, hosts, queues, clusters, admin, tour, fork_demo)
if (Path(__file__).parent / "scripts").is_dir():  # the wheel has none
    namespace.add_collection(dev)
for collection, purpose in [
    (batches, "many jobs from one command or function, and the runs that were made"),
    (pages, "a page of these runs, live"),
    (commands, "one command"),
    (procs, "processes"),
    (hosts, "this machine"),
    (queues, "consumers of queues"),
    (clusters, "a Dask cluster on this machine"),
    (admin, "programs for administrators, with exit statuses for monitors: 0 ok, 1 warning, 2 critical, 3 unknown"),
    (dev, "work on manyhands itself"),
    (namespace, __doc__),
    (tour, "small programs that show ways of doing things at once, and check themselves"),
]:
    collection.__doc__ = purpose
SECOND_NAMES = {
    "getoutput": output,
    "check-output": check_output,
    "pipe": pipe,
    "terminate": stop,
    "system-info": info,
}
for second_name, same in SECOND_NAMES.items():  # the same tasks under the names that the tutorials use
    namespace.add_task(same, second_name)
namespace.configure({"runners": {"local": Utf8Local}, "run": {"in_stream": False}})
