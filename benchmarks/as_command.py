"""Import this first: the process is then set up as ``sidgan dub`` sets up its own, before torch is there."""

from sidgan.threads import ready_for_dubs

ready_for_dubs()
