# The recipes by which people work with the Tasks API. `just` alone lists them.

export PATH := justfile_directory() / ".tools/bin:" + env("PATH", "")
export TASKS_JUST := just_executable()
export COVERAGE_FILE := justfile_directory() / ".coverage"
# Keep what Python compiles, also where an image says not to: each process would compile a thousand modules anew.
export PYTHONDONTWRITEBYTECODE := ""
# The thread that imports the application would get memory of its own from glibc, and keep 2 MB of it.
export MALLOC_ARENA_MAX := "1"
export UV_PYTHON_DOWNLOADS := "never"
# Trust whom this machine trusts: behind a proxy that opens TLS, uv's own list knows too few.
export UV_SYSTEM_CERTS := if path_exists("/etc/ssl/certs") == "true" { "true" } else { "false" }

compile := "uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-header"
parallel := "--numprocesses auto --dist loadfile --no-loadscope-reorder"
no_python := "Python 3.11 or later is needed, and none is in PATH. Install one, or say where it is: UV_PYTHON=/path/to/python"
python := quote(justfile_directory() / ".venv/bin/python")

[private]
default:
    @just --justfile {{ quote(justfile()) }} --list --unsorted

# Serve the API, the docs and the admin; migrates first. `--host`, `--port` and `--workers` say where and with how many
[no-exit-message, positional-arguments]
serve *ARGS: (install "requirements.txt")
    @exec {{ python }} -m app serve --migrate "$@"

# The same, and start again whenever the code changes
[no-exit-message, positional-arguments]
dev *ARGS: (install "requirements-dev.txt")
    @exec {{ python }} -m app serve --migrate --reload "$@"

# Bring the database up to date
[no-exit-message]
migrate: (install "requirements.txt")
    @{{ python }} -m app migrate

# Write a migration for what has changed in app/db/tables.py
[no-exit-message]
migration NAME: (install "requirements.txt")
    @{{ python }} -m app migration {{ quote(NAME) }}

# Take the newest migration back; asks first, unless `--yes`
[no-exit-message, positional-arguments]
rollback *ARGS: (install "requirements.txt")
    @{{ python }} -m app rollback "$@"

# Print a token for USER that is valid for 24 hours
[no-exit-message]
token USER: (install "requirements.txt")
    @{{ python }} -m app token {{ quote(USER) }}

# Make a login for the admin, asking for the password; `--list`, `--password`, `--remove` and `--unlock` see to others
[no-exit-message, positional-arguments]
admin-user *ARGS: (install "requirements.txt")
    @{{ python }} -m app admin-user "$@"

# Open psql on the configured database; takes psql's own arguments
[no-exit-message, positional-arguments]
psql *ARGS: (install "requirements.txt")
    @exec {{ python }} -m app psql "$@"

# Run the fast tests, in parallel; takes pytest's own arguments (`-n0`: in turn). A file that is named runs whole
[no-exit-message, positional-arguments]
test *ARGS: (install "requirements-dev.txt")
    @{{ python }} -m pytest {{ parallel }} "$@"

# Run all tests, and count the lines of app/ that they run, those in processes of their own too
test-all: (install "requirements-dev.txt")
    @{{ python }} -m coverage erase
    @{{ python }} -m coverage run -m pytest {{ parallel }} --all
    @{{ python }} -m coverage combine --quiet
    @{{ python }} -m coverage report

# Put the service through every fault at full length and print the figures; takes up to an hour
[no-exit-message, positional-arguments]
soak *ARGS: (install "requirements-dev.txt")
    @{{ python }} -m pytest --capture=no {{ if ARGS =~ '(^| )tests/' { "" } else { "tests/soak" } }} "$@"

# Measure the speed as served, beside others; `just bench quick` takes two minutes
[no-exit-message, positional-arguments]
bench *ARGS: (install "requirements.txt")
    @{{ python }} -m benchmarks "$@"

# Lint, formatting, types, and the words of names and texts
check: (install "requirements-dev.txt")
    @{{ python }} -m ruff check .
    @{{ python }} -m ruff format --check .
    @{{ python }} -m pyright
    @{{ python }} -m pytest --quiet tests/test_words.py

# Lock the dependencies anew: exact versions, hashes, no index
lock:
    {{ compile }} pyproject.toml -o requirements.txt
    {{ compile }} pyproject.toml --extra otel -c requirements.txt -o requirements-otel.txt
    {{ compile }} pyproject.toml --extra otel --group dev -c requirements-otel.txt -o requirements-dev.txt
    {{ compile }} --group tools -o requirements-tools.txt
    {{ compile }} benchmarks/requirements.in -o benchmarks/requirements.txt
    {{ compile }} tests/live/redbot/requirements.in -o tests/live/redbot/requirements.txt
    {{ compile }} tests/live/python_client/requirements.in -o tests/live/python_client/requirements.txt

# Install from a lock file, into .venv; a tenth of a second where nothing has changed. A .venv whose Python has gone or
# is too old is made anew in its place, and two recipes that do so together make one. Shows its progress on a terminal.
[no-exit-message, private]
install LOCK:
    @if ! {{ python }} -c 'import sys; sys.exit(sys.version_info < (3, 11) or sys.prefix == sys.base_prefix)' 2>/dev/null; then \
        uv python find --system "${UV_PYTHON:->=3.11}" >/dev/null 2>&1 || { echo {{ quote(no_python) }} >&2; exit 1; }; \
        uv venv --quiet --allow-existing --python "${UV_PYTHON:->=3.11}" .venv; \
    fi
    @if test -t 2 && ! cmp -s {{ LOCK }} .venv/{{ LOCK }}; then quiet=; else quiet=--quiet; fi; \
        uv pip install $quiet --python .venv --require-hashes -r {{ LOCK }} && cp {{ LOCK }} .venv/$$.new && mv -f .venv/$$.new .venv/{{ LOCK }}
