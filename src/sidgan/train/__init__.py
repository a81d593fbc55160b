"""Training: one loop for all networks.

::

    runs ─ settings, data, run folder ─▶ loop ─ steps ─▶ Task ─┬─ syncnet    the sync expert (Sec. 3.3.1)
                                          │                    ├─ gan        the generator (Sec. 3.3.3, 3.4)
     counts, logs, evaluates, saves, resumes                  ├─ listener   an audio encoder, from speech alone
                                                               └─ occlusion  finds what covers a face

=============  =====================================================================================================
a step         `batch` (input), `augment`, `pairs` (right and wrong pairs), `next_batch` (prefetch), `precision`
               (update), `rate` (learning rate), `average` (of weights), `processes` (distributed training)
the generator  `objective` (Eq. 4), `schedule` (when levels and losses start), `balance` (gradient of each loss),
               `calibration` (of their weights), `growth` (warm start from a smaller size), `settings`
monitoring     `alignment` (of the data), `diagnosis` (of an expert), `health` and `judging` (of a generator)
on disk        `folder`
=============  =====================================================================================================
"""

from importlib.util import find_spec

from sidgan.errors import ConfigError

if find_spec("lightning") is None:
    raise ConfigError("adapting and training need Lightning, which is not installed; run: pip install 'sidgan[train]'")
