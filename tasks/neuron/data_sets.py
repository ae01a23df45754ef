"""Data sets of simulated neurons: where they come from and under which licence."""

from tasks.base import DataSet

NEURONIO_MINI = DataSet(
    name="neuronio-mini",
    summary="96 simulations of 6 s of a small multi-branch NMDA neuron, simulated on first use",
    tasks=("neuronio",),
    kind="generated",
    licence="MIT, like this software",
    citation="this software; layout and protocol after Beniaguev et al. 2021",
)
NEURONIO = DataSet(
    name="neuronio",
    summary="simulations of a detailed layer-5 pyramidal cell: input and output spikes, soma voltage (115 GB)",
    tasks=("neuronio",),
    kind="manual",
    licence="see the Kaggle pages",
    citation="Beniaguev, Segev and London 2021, Neuron 109, doi 10.1016/j.neuron.2021.07.002",
    steps="download single-neurons-as-deep-nets-nmda-train-data and -test-data of selfishgene from Kaggle (account "
    "needed), convert them with 'python -m tasks.neuron.neuronio_files' and give that folder as data:",
)
