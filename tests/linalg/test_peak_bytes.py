import torch
from peak_bytes import PeakBytes


def test_the_meter_of_bytes_sees_temporaries_go() -> None:
    tensor = torch.zeros(1000)
    with PeakBytes() as peak:
        for _ in range(5):
            tensor + 1 - 1
    assert 3 * 4000 <= peak.most <= 4 * 4000
