"""Dubbing as a service: a web page for people, an API for programs, and workers that do the jobs.

::

    browser ─ page, API ──▶ app      authorises requests, stores files, answers; it never opens an uploaded file
                             │
                          prober     a process with limited memory and time, which examines uploaded files
                             │
                          store      one SQLite database: sessions, files, jobs, and who owns them
                             │
    worker, worker ... ◀─────┘       processes that take jobs, do them with the package, and report their progress

Server and workers share nothing but one folder, so either may stop, be killed and restart without the other. *Remote*
workers do not share the folder: they get job ids from a queue engine, and everything else from the server::

    handout (Redis) ─ job id ─▶ away ◀─ HTTP ─▶ remote, in the app      the worker's own folder has the same layout

::

    FOLDER/
        service.sqlite               sessions, files, jobs
        files/ID/original.mp4        the uploaded file; beside it the people found in it
        jobs/ID/                     results, and unfinished work
        workers/NAME.lock            a lock that a worker holds for as long as it lives
"""
