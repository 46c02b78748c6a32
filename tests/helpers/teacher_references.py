"""Reference implementations written out as functions of a published checkpoint's tensors, by their published names.

They share nothing with the package: no timm, no key map. ``s`` is the state dict.
"""

import itertools
import math

import torch
from torch.nn import functional as F


def linear(s, name, x):
    return F.linear(x, s[f"{name}.weight"], s.get(f"{name}.bias"))


def norm(s, name, x, eps=1e-5):
    return F.layer_norm(x, x.shape[-1:], s[f"{name}.weight"], s[f"{name}.bias"], eps)


def softmax_attention(q, k, v, bias=0):
    return ((q @ k.transpose(-2, -1)) / math.sqrt(q.shape[-1]) + bias).softmax(-1) @ v


# --- TinyViT with SAM's neck (MobileSAM, LiteMedSAM) ------------------------------------------------------------------


def conv_bn(s, name, x, stride=1, groups=1):
    weight = s[f"{name}.c.weight"]
    x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)
    mean, var = s[f"{name}.bn.running_mean"], s[f"{name}.bn.running_var"]
    return F.batch_norm(x, mean, var, s[f"{name}.bn.weight"], s[f"{name}.bn.bias"], False, 0, 1e-5)


def windows(x, side):
    """(B, H, W, C), padded to whole windows -> (windows, side * side, C)."""
    b, h, w, c = x.shape
    return x.view(b, h // side, side, w // side, side, c).transpose(2, 3).reshape(-1, side * side, c)


def unwindows(x, side, b, h, w):
    return x.view(b, h // side, w // side, side, side, -1).transpose(2, 3).reshape(b, h, w, -1)


def tiny_vit_block(s, name, x, heads, side):
    b, c, h, w = x.shape
    grid = x.permute(0, 2, 3, 1)
    padded = F.pad(grid, (0, 0, 0, -w % side, 0, -h % side))
    tokens = norm(s, f"{name}.attn.norm", windows(padded, side))
    # query, key and value of one head lie side by side
    q, k, v = linear(s, f"{name}.attn.qkv", tokens).unflatten(-1, (heads, 3, c // heads)).permute(3, 0, 2, 1, 4)
    points = list(itertools.product(range(side), range(side)))
    offsets = {}
    index = [offsets.setdefault((abs(p[0] - q_[0]), abs(p[1] - q_[1])), len(offsets)) for p in points for q_ in points]
    bias = s[f"{name}.attn.attention_biases"][:, index].view(heads, len(points), len(points))
    tokens = linear(s, f"{name}.attn.proj", softmax_attention(q, k, v, bias).transpose(1, 2).flatten(2))
    attended = unwindows(tokens, side, b, padded.shape[1], padded.shape[2])[:, :h, :w]
    x = conv_bn(s, f"{name}.local_conv", x + attended.permute(0, 3, 1, 2), groups=c)
    tokens = x.permute(0, 2, 3, 1)
    hidden = F.gelu(linear(s, f"{name}.mlp.fc1", norm(s, f"{name}.mlp.norm", tokens)))
    return (tokens + linear(s, f"{name}.mlp.fc2", hidden)).permute(0, 3, 1, 2)


def tiny_vit_sam(s, x, embed_stride):
    """TinyViT-5M of MobileSAM (``embed_stride`` 2) or LiteMedSAM (1): pixels to (B, 256, 64, 64)."""
    s = {key.removeprefix("image_encoder."): value for key, value in s.items()}
    x = conv_bn(s, "patch_embed.seq.0", x, embed_stride)
    x = conv_bn(s, "patch_embed.seq.2", F.gelu(x), embed_stride)
    for stage, (depth, heads, side) in enumerate([(2, 2, 7), (2, 4, 7), (6, 5, 14), (2, 10, 7)]):
        for block in range(depth):
            name = f"layers.{stage}.blocks.{block}"
            if stage == 0:
                y = F.gelu(conv_bn(s, f"{name}.conv1", x))
                y = F.gelu(conv_bn(s, f"{name}.conv2", y, groups=y.shape[1]))
                x = F.gelu(x + conv_bn(s, f"{name}.conv3", y))
            else:
                x = tiny_vit_block(s, name, x, heads, side)
        if stage < 3:
            name = f"layers.{stage}.downsample"
            x = F.gelu(conv_bn(s, f"{name}.conv1", x))
            x = F.gelu(conv_bn(s, f"{name}.conv2", x, 2 if stage < 2 else 1, x.shape[1]))
            x = conv_bn(s, f"{name}.conv3", x)
    for conv, scale, padding in (("neck.0", "neck.1", 0), ("neck.2", "neck.3", 1)):
        x = F.conv2d(x, s[f"{conv}.weight"], padding=padding)
        x = norm(s, scale, x.permute(0, 2, 3, 1), 1e-6).permute(0, 3, 1, 2)
    return x


# --- Swin-T by the names of transformers 4.24 (MedCLIP) ---------------------------------------------------------------


def swin_block(s, name, x, heads, shift):
    side = min(7, x.shape[1])
    shift = shift if x.shape[1] > 7 else 0
    b, h, w, _ = x.shape
    y = norm(s, f"{name}.layernorm_before", x)
    y = windows(torch.roll(y, (-shift, -shift), (1, 2)), side)
    q, k, v = (
        linear(s, f"{name}.attention.self.{part}", y).unflatten(-1, (heads, -1)).transpose(1, 2)
        for part in ("query", "key", "value")
    )
    points = torch.tensor(list(itertools.product(range(side), range(side))))
    relative = points[:, None] - points[None] + side - 1
    index = relative[..., 0] * (2 * side - 1) + relative[..., 1]
    bias = s[f"{name}.attention.self.relative_position_bias_table"][index].permute(2, 0, 1)
    if shift:
        parts = torch.zeros(1, h, w, 1)
        cuts = (slice(0, -side), slice(-side, -shift), slice(-shift, None))
        for number, (rows, columns) in enumerate(itertools.product(cuts, cuts)):
            parts[:, rows, columns] = number
        number = windows(parts, side)[..., 0]
        apart = torch.where(number[:, None] == number[:, :, None], 0.0, -100.0)
        bias = bias[None] + apart.repeat(b, 1, 1)[:, None]
    y = softmax_attention(q, k, v, bias).transpose(1, 2).flatten(2)
    y = unwindows(linear(s, f"{name}.attention.output.dense", y), side, b, h, w)
    x = x + torch.roll(y, (shift, shift), (1, 2))
    y = F.gelu(linear(s, f"{name}.intermediate.dense", norm(s, f"{name}.layernorm_after", x)))
    return x + linear(s, f"{name}.output.dense", y)


def medclip_swin(s, x):
    """MedCLIP's vision tower: pixels (B, 3, 224, 224) to (B, 768, 7, 7)."""
    s = {key.removeprefix("vision_model.model."): value for key, value in s.items()}
    projection = "embeddings.patch_embeddings.projection"
    x = F.conv2d(x, s[f"{projection}.weight"], s[f"{projection}.bias"], stride=4).permute(0, 2, 3, 1)
    x = norm(s, "embeddings.norm", x)
    for stage, (depth, heads) in enumerate([(2, 3), (2, 6), (6, 12), (2, 24)]):
        for block in range(depth):
            x = swin_block(s, f"encoder.layers.{stage}.blocks.{block}", x, heads, 3 * (block % 2))
        if stage < 3:
            x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1)
            name = f"encoder.layers.{stage}.downsample"
            x = linear(s, f"{name}.reduction", norm(s, f"{name}.norm", x))
    return norm(s, "layernorm", x).permute(0, 3, 1, 2)


# --- DINOv2 by its original names -------------------------------------------------------------------------------------


def dinov2_patches(s, x, heads):
    """DINOv2 ViT/14, with or without registers: pixels (B, 3, 518, 518) to (B, C, 37, 37)."""
    x = F.conv2d(x, s["patch_embed.proj.weight"], s["patch_embed.proj.bias"], stride=14)
    grid = x.shape[-2:]
    x = torch.cat([s["cls_token"].expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], 1) + s["pos_embed"]
    registers = s.get("register_tokens")
    if registers is not None:
        x = torch.cat([x[:, :1], registers.expand(len(x), -1, -1), x[:, 1:]], 1)
    for block in range(12):
        name = f"blocks.{block}"
        y = linear(s, f"{name}.attn.qkv", norm(s, f"{name}.norm1", x, 1e-6))
        q, k, v = y.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        y = linear(s, f"{name}.attn.proj", softmax_attention(q, k, v).transpose(1, 2).flatten(2))
        x = x + y * s[f"{name}.ls1.gamma"]
        y = F.gelu(linear(s, f"{name}.mlp.fc1", norm(s, f"{name}.norm2", x, 1e-6)))
        x = x + linear(s, f"{name}.mlp.fc2", y) * s[f"{name}.ls2.gamma"]
    return norm(s, "norm", x, 1e-6)[:, -grid[0] * grid[1] :].transpose(1, 2).unflatten(2, grid)
