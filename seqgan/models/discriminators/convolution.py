"""Two cheap ways to compute a convolution over a text and then the maximum over time.

Both equal `conv1d(embedded).amax(time)` within float rounding. `max_over_time` is for training: the
maximum passes the gradient to one window per filter and text, so the backward pass adds up those
windows instead of multiplying by a matrix of almost only zeros. `max_over_time_by_table` is for
scoring many texts: a convolution over embeddings is a sum of table rows, one per word of a window.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding_bag


def max_over_time(
    embedded: Float[Tensor, "batch time embedding"],
    weight: Float[Tensor, "filter embedding width"],
    bias: Float[Tensor, " filter"],
) -> Float[Tensor, "batch filter"]:
    """The largest response of each filter over the windows of each text, differentiable once.

    If windows tie, the first one gets the gradient. Under autocast the responses have its
    precision, and the maximum is float32.
    """
    result: Tensor = _MaxOverTime.apply(embedded, weight, bias)
    return result


def max_over_time_by_table(
    tokens: Int[Tensor, "batch time"],
    embedding: Float[Tensor, "id embedding"],
    weight: Float[Tensor, "filter embedding width"],
    bias: Float[Tensor, " filter"],
    chunk_size: int = 1024,
) -> Float[Tensor, "batch filter"]:
    """`max_over_time` from token ids, without gradients, for many texts.

    The response to a window is the sum over its words of embedding x kernel. A table holds that
    product for each word and each place in the window: id x width x filter numbers. `chunk_size`
    texts are looked up at a time.
    """
    num_ids, width = len(embedding), weight.shape[2]
    kernel = weight.permute(1, 2, 0).flatten(1)
    table = (embedding @ kernel).view(num_ids * width, -1)
    places = torch.arange(width, device=tokens.device)
    parts = []
    for rows in tokens.split(chunk_size):
        windows = rows.unfold(1, width, 1) * width + places
        responses = embedding_bag(windows.flatten(0, 1), table, mode="sum")
        parts.append(responses.view(len(rows), -1, len(bias)).amax(dim=1).float())
    return torch.cat(parts) + bias


class _MaxOverTime(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, embedded: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        num_filters, size, width = weight.shape
        windows = embedded.flatten(1).unfold(1, width * size, size)
        num_windows = windows.shape[1]
        device = embedded.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        flat = windows.to(dtype or embedded.dtype).reshape(-1, width * size)
        kernel = weight.transpose(1, 2).reshape(num_filters, -1)
        with torch.autocast(device, enabled=False):
            responses = (flat @ kernel.to(flat.dtype).T).view(-1, num_windows, num_filters)
        peak = responses.amax(dim=1, keepdim=True)
        # The first window that reaches the peak. This is cheaper than a maximum with indices.
        to_go = torch.arange(num_windows, 0, -1, dtype=torch.int16, device=embedded.device)
        first = num_windows - ((responses == peak) * to_go[:, None]).amax(dim=1)
        first = first.clamp(max=num_windows - 1)  # NaN equals no peak; the loss reports it later
        ctx.save_for_backward(flat, kernel, first)
        ctx.time = embedded.shape[1]
        return peak[:, 0].to(bias.dtype) + bias

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        flat, kernel, first = ctx.saved_tensors
        batch, num_filters = first.shape
        num_windows = len(flat) // batch
        first = first.long()
        # The window, numbered over all texts, that was the maximum of each text and filter.
        window = first + torch.arange(batch, device=first.device)[:, None] * num_windows
        of_kernel = embedding_bag(
            window.T.contiguous(),
            flat,
            per_sample_weights=gradient.T.contiguous().to(flat.dtype),
            mode="sum",
        ).to(kernel.dtype)
        width = ctx.time - num_windows + 1
        of_weight = of_kernel.view(num_filters, width, -1).transpose(1, 2)
        of_embedded = None
        if ctx.needs_input_grad[0]:
            # The other way round: the filters of each window, text by text. Sorting the filters
            # by their window puts the filters of one window side by side, as a bag.
            filters = first.argsort(dim=1)
            bag_sizes = torch.bincount(window.flatten(), minlength=len(flat))
            of_windows = embedding_bag(
                filters.flatten(),
                kernel,
                offsets=bag_sizes.cumsum(0) - bag_sizes,
                per_sample_weights=gradient.gather(1, filters).flatten(),
                mode="sum",
            ).view(batch, num_windows, width, -1)
            of_embedded = gradient.new_zeros(batch, ctx.time, of_windows.shape[-1])
            for place in range(width):
                of_embedded[:, place : place + num_windows] += of_windows[:, :, place]
        return of_embedded, of_weight, gradient.sum(dim=0)
