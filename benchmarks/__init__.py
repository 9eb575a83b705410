"""How fast is the service? It is measured beside others that keep the same contract over the same database.

__main__      the command: what to run, and with whom
lineup        the contenders: how each is started, and what it needs; `ours` runs as `just serve` runs it
contenders/   the contenders themselves, in Python, JavaScript and Go; our own service is started as it is
data          the database: whose tasks there are, and how they are put back after a round
workloads     what is asked of a contender: requests, and for the database alone its statements
check         does a contender keep the contract? Who does not is not timed
service       a contender as a running process
load          wrk, which asks; pgbench, which asks the database alone
measure       processor time and memory, of processes and all their children
rounds        the measurements, in rounds: everybody in turn, again and again
report, chart what comes of it: tables, and pictures
growth        the other question: what becomes of our speed with more rows, users, connections, workers?
toolbox       what has to be there, and how to get it
"""
