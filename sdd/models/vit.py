"""The vision transformer of the paper's section 3: 8 heads, embedding dimension 512.

The paper's "4 patches" are patches of 4x4 pixels. What it leaves out follows its authors' code:
depth 6, MLP dimension 512, dropout 0.1, pre-norm, qkv without bias, a class token, and a learned
position embedding, both drawn from the standard normal distribution. Narrower ones have as many
heads of 64 as fit their dimension.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, unfold

from sdd.models.names import HEAD_DIM, PATCH

DIM = 512  # also of the MLP
DEPTH = 6
DROPOUT = 0.1


def vision_transformer(
    channels: int, size: int, classes: int, dim: int = DIM, depth: int = DEPTH
) -> nn.Module:
    return VisionTransformer(channels, (size // PATCH) ** 2, classes, dim, depth)


class VisionTransformer(nn.Module):
    def __init__(self, channels: int, patches: int, classes: int, dim: int, depth: int) -> None:
        super().__init__()
        self.embed = nn.Linear(channels * PATCH * PATCH, dim)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.position = nn.Parameter(torch.randn(1, patches + 1, dim))
        self.dropout = nn.Dropout(DROPOUT)
        self.layers = nn.Sequential(*(Layer(dim) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        patches = unfold(x, PATCH, stride=PATCH).transpose(1, 2)
        cls_token = self.cls_token.expand(x.shape[0], -1, -1)  # len would fix an export's batch
        tokens = torch.cat([cls_token, self.embed(patches)], dim=1) + self.position
        tokens = self.layers(self.dropout(tokens))
        return self.head(self.norm(tokens[:, 0]))


class Layer(nn.Module):
    """Pre-norm self-attention, then a pre-norm MLP, each added to its input."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = Attention(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(
            nn.Linear(dim, dim),
            nn.GELU(),
            nn.Dropout(DROPOUT),
            nn.Linear(dim, dim),
            nn.Dropout(DROPOUT),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Attention(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.heads = dim // HEAD_DIM
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x).unflatten(2, (3, self.heads, HEAD_DIM))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        heads = scaled_dot_product_attention(query, key, value)
        return self.dropout(self.out(heads.transpose(1, 2).flatten(2)))
