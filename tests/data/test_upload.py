import torch

from tinynas.data.upload import CPU, uploaded


def test_batches_of_the_cpu_are_yielded_as_they_are_read():
    """None is read ahead: pixels are only valid until the next batch is read."""
    read = []

    def batches():
        for number in range(3):
            read.append(number)
            yield torch.full((2, 3, 4, 4), number, dtype=torch.uint8), torch.tensor([number, number])

    for number, (pixels, labels) in enumerate(uploaded(batches(), CPU)):
        assert read == list(range(number + 1))
        assert pixels.tolist() == torch.full((2, 3, 4, 4), number).tolist()
        assert labels.tolist() == [number, number]
    assert number == 2
