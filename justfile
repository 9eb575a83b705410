# The recipes by which people work with the Tasks API. `just` alone lists them.

export PATH := justfile_directory() / ".tools/bin:" + env("PATH", "")
export TASKS_JUST := just_executable()
export COVERAGE_FILE := justfile_directory() / ".coverage"
# Keep what Python compiles, also where an image says not to: each process would compile a thousand modules anew.
export PYTHONDONTWRITEBYTECODE := ""
export UV_PYTHON_DOWNLOADS := "never"
# Trust whom this machine trusts: behind a proxy that opens TLS, uv's own list knows too few.
export UV_SYSTEM_CERTS := if path_exists("/etc/ssl/certs") == "true" { "true" } else { "false" }

compile := "uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-header"
parallel := "--numprocesses auto --dist loadfile --no-loadscope-reorder"
python := quote(justfile_directory() / ".venv/bin/python")

[private]
default:
    @just --justfile {{ quote(justfile()) }} --list --unsorted

# Serve the API, the docs and the admin; migrates first
serve: (install "requirements.txt")
    @exec {{ python }} -m app serve --migrate

# The same, and start again whenever the code changes
dev: (install "requirements-dev.txt")
    @exec {{ python }} -m app serve --migrate --reload

# Bring the database up to date
migrate: (install "requirements.txt")
    @{{ python }} -m app migrate

# Write a migration for what has changed in app/tables.py
migration NAME: (install "requirements.txt")
    @{{ python }} -m piccolo.main migrations new tasks --auto --desc={{ quote(NAME) }}

# Take the newest migration back
rollback: (install "requirements.txt")
    @{{ python }} -m app rollback

# Print a token for USER that is valid for 24 hours
token USER: (install "requirements.txt")
    @{{ python }} -m app token {{ quote(USER) }}

# Make a login for the admin, asking for the password; `--unlock` lets one be tried again after too many failures
[positional-arguments]
admin-user *ARGS: (install "requirements.txt")
    @{{ python }} -m app admin-user "$@"

# Open psql on the configured database
psql: (install "requirements.txt")
    @exec {{ python }} -m app psql

# Run the tests against a real PostgreSQL
test *ARGS: (install "requirements-dev.txt")
    @{{ python }} -m pytest {{ if ARGS == "" { parallel } else { ARGS } }}

# Put the service through every fault at full length and print the figures; takes up to an hour
soak *ARGS: (install "requirements-dev.txt")
    @{{ python }} -m pytest --capture=no {{ if ARGS == "" { "tests/soak" } else { ARGS } }}

# Measure the speed beside others; `just bench quick` takes two minutes
bench *ARGS: (install "requirements.txt")
    @{{ python }} -m benchmarks {{ ARGS }}

# Lint, formatting and types
check: (install "requirements-dev.txt")
    @{{ python }} -m ruff check .
    @{{ python }} -m ruff format --check .
    @{{ python }} -m pyright

# The same tests with every line of app/ counted, those in processes of their own too
coverage: (install "requirements-dev.txt")
    @{{ python }} -m coverage erase
    @{{ python }} -m coverage run -m pytest {{ parallel }}
    @{{ python }} -m coverage combine --quiet
    @{{ python }} -m coverage report

# Lock the dependencies anew: exact versions, hashes, no index
lock:
    {{ compile }} pyproject.toml -o requirements.txt
    {{ compile }} pyproject.toml --extra otel -c requirements.txt -o requirements-otel.txt
    {{ compile }} pyproject.toml --extra otel --group dev -c requirements-otel.txt -o requirements-dev.txt
    {{ compile }} --group tools -o requirements-tools.txt
    {{ compile }} benchmarks/requirements.in -o benchmarks/requirements.txt
    {{ compile }} tests/live/redbot/requirements.in -o tests/live/redbot/requirements.txt

# Install from a lock file, into .venv; a tenth of a second where nothing has changed
[private]
install LOCK:
    @test -x {{ python }} || uv venv --quiet --python ">=3.11" .venv
    @uv pip install --quiet --python .venv --require-hashes -r {{ LOCK }}
