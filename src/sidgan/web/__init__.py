"""Dubbing as a service: a page for people, an interface for programs, and workers.

::

    browser ─ page, API ──▶ app      checks who asks and what, keeps files, answers; it never opens a stranger's file
                             │
                          prober     a small process with little memory and time, which looks at what was uploaded
                             │
                          store      one SQLite file: who has which files and jobs
                             │
    worker, worker ... ◀─────┘       processes that take jobs, do them with the package, and note how far they are

Server and workers meet in one folder only, so either may stop, be killed and start again without the other. Workers on
machines without that folder get numbers of jobs from a queue engine, if there is one, and all else from the server::

    handout (Redis) ─ number ─▶ away ◀─ HTTP ─▶ remote, in the app      the worker has a folder of its own, kept alike

::

    FOLDER/
        service.sqlite               sessions, files, jobs
        files/ID/original.mp4        what was uploaded; beside it who is seen in it
        jobs/ID/                     results, and unfinished work
        workers/NAME.lock            held by a worker for as long as it lives
"""
