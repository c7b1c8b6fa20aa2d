"""What the chapter on trainability records, for `python -m lib`."""

from lib.ntk import record_cnns, record_maps, record_pooling, record_width

EXPERIMENTS = {
    experiment.name: experiment
    for module in (record_maps, record_width, record_pooling, record_cnns)
    for experiment in module.EXPERIMENTS
}
