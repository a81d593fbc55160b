"""Training: one loop, and what it trains.

::

    runs ─ settings, data, run folder ─▶ loop ─ steps ─▶ Task ─┬─ syncnet    the sync expert (Sec. 3.3.1)
                                          │                    ├─ gan        the generator (Sec. 3.3.3, 3.4)
          counts, logs, judges, saves, resumes                 ├─ listener   an audio encoder, from speech alone
                                                               └─ occlusion  what covers a face

=============  =====================================================================================================
a step         `batch` what it sees, `augment`, `pairs` right and wrong ones, `next_batch` made while the last is
               learnt from, `precision`, `rate`, `average`, `processes` several that train together
the generator  `schedule` when what joins in, `balance` how strongly each loss pulls, `growth` between sizes,
               `settings`
is it well?    `alignment` before the run, `diagnosis` of an expert, `health` of a generator, `judging`
on disk        `folder`
=============  =====================================================================================================
"""

from importlib.util import find_spec

from sidgan.errors import ConfigError

if find_spec("lightning") is None:
    raise ConfigError("adapting and training need Lightning, which is not installed; run: pip install 'sidgan[train]'")
