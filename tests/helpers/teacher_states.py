"""Random checkpoints by their published names and shapes, written out, and the measure of parity."""

import torch


def enliven(state, seed=0):
    """Random tensors of the same names and shapes, scaled so that every one of them matters to the result."""
    generator = torch.Generator().manual_seed(seed)
    result = {}
    for key, value in state.items():
        if not value.is_floating_point():
            result[key] = value.clone()
        elif key.endswith("running_var"):
            result[key] = 0.5 + torch.rand(value.shape, generator=generator)
        elif value.ndim > 1:
            fan = value[0].numel() if value.ndim > 2 or "weight" in key else 16
            result[key] = torch.randn(value.shape, generator=generator) / max(fan, 1) ** 0.5
        elif "weight" in key or "gamma" in key or "lambda" in key:
            result[key] = 0.7 + 0.6 * torch.rand(value.shape, generator=generator)
        else:
            result[key] = 0.1 * torch.randn(value.shape, generator=generator)
    return result


def relative(ours, reference):
    """Largest difference as a share of the reference's largest value."""
    assert ours.shape == reference.shape and reference.std() > 1e-3
    return float((ours - reference).abs().max() / reference.abs().max())


def of_shapes(shapes, seed=0):
    """Random tensors of the given shapes, every one of which matters to the result."""
    return enliven({key: torch.empty(shape) for key, shape in shapes.items()}, seed)


def tiny_vit_shapes(embed_kernel):
    """MobileSAM's (``embed_kernel`` 3) or LiteMedSAM's (1) image encoder."""
    shapes = {}

    def conv_bn(name, outs, ins, kernel):
        shapes[f"{name}.c.weight"] = (outs, ins, kernel, kernel)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.bn.{part}"] = (outs,)

    def linear(name, outs, ins):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outs, ins), (outs,)

    def norm(name, width):
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)

    conv_bn("patch_embed.seq.0", 32, 3, embed_kernel)
    conv_bn("patch_embed.seq.2", 64, 32, embed_kernel)
    for stage, (depth, width, heads, side) in enumerate(
        [(2, 64, 2, 7), (2, 128, 4, 7), (6, 160, 5, 14), (2, 320, 10, 7)]
    ):
        for block in range(depth):
            name = f"layers.{stage}.blocks.{block}"
            if stage == 0:
                conv_bn(f"{name}.conv1", 4 * width, width, 1)
                conv_bn(f"{name}.conv2", 4 * width, 1, 3)
                conv_bn(f"{name}.conv3", width, 4 * width, 1)
                continue
            shapes[f"{name}.attn.attention_biases"] = (heads, side * side)
            norm(f"{name}.attn.norm", width)
            linear(f"{name}.attn.qkv", 3 * width, width)
            linear(f"{name}.attn.proj", width, width)
            norm(f"{name}.mlp.norm", width)
            linear(f"{name}.mlp.fc1", 4 * width, width)
            linear(f"{name}.mlp.fc2", width, 4 * width)
            conv_bn(f"{name}.local_conv", width, 1, 3)
        if stage < 3:
            after = (128, 160, 320)[stage]
            name = f"layers.{stage}.downsample"
            conv_bn(f"{name}.conv1", after, width, 1)
            conv_bn(f"{name}.conv2", after, 1, 3)
            conv_bn(f"{name}.conv3", after, after, 1)
    shapes["neck.0.weight"], shapes["neck.2.weight"] = (256, 320, 1, 1), (256, 256, 3, 3)
    norm("neck.1", 256)
    norm("neck.3", 256)
    return {f"image_encoder.{key}": shape for key, shape in shapes.items()}


def with_counters(state):
    """Batch normalisation also keeps a counter, which published files hold."""
    counters = {k.replace("running_mean", "num_batches_tracked"): torch.tensor(7) for k in state if "running_mean" in k}
    return {**state, **counters}


def medclip_shapes():
    """MedCLIP-ViT as transformers 4.24 named it, with the beginnings of a text tower."""
    shapes = {"embeddings.patch_embeddings.projection.weight": (96, 3, 4, 4)}
    shapes["embeddings.patch_embeddings.projection.bias"] = (96,)
    shapes["embeddings.norm.weight"] = shapes["embeddings.norm.bias"] = (96,)
    for stage, (depth, heads) in enumerate([(2, 3), (2, 6), (6, 12), (2, 24)]):
        width = 96 * 2**stage
        for block in range(depth):
            name = f"encoder.layers.{stage}.blocks.{block}"
            for part, outs, ins in (
                ("attention.self.query", width, width),
                ("attention.self.key", width, width),
                ("attention.self.value", width, width),
                ("attention.output.dense", width, width),
                ("intermediate.dense", 4 * width, width),
                ("output.dense", width, 4 * width),
            ):
                shapes[f"{name}.{part}.weight"], shapes[f"{name}.{part}.bias"] = (outs, ins), (outs,)
            for part in ("layernorm_before", "layernorm_after"):
                shapes[f"{name}.{part}.weight"] = shapes[f"{name}.{part}.bias"] = (width,)
            shapes[f"{name}.attention.self.relative_position_bias_table"] = (169, heads)
        if stage < 3:
            name = f"encoder.layers.{stage}.downsample"
            shapes[f"{name}.reduction.weight"] = (2 * width, 4 * width)
            shapes[f"{name}.norm.weight"] = shapes[f"{name}.norm.bias"] = (4 * width,)
    shapes["layernorm.weight"] = shapes["layernorm.bias"] = (768,)
    shapes = {f"vision_model.model.{key}": shape for key, shape in shapes.items()}
    return {
        **shapes,
        "vision_model.projection_head.weight": (512, 768),
        "text_model.model.embeddings.word_embeddings.weight": (10, 768),
        "text_model.projection_head.weight": (512, 768),
        "logit_scale": (1,),
    }


def dinov2_shapes(width, registers):
    """DINOv2 ViT/14 with the names of its own code."""
    shapes = {"cls_token": (1, 1, width), "pos_embed": (1, 1370, width), "mask_token": (1, width)}
    if registers:
        shapes["register_tokens"] = (1, registers, width)
    shapes["patch_embed.proj.weight"], shapes["patch_embed.proj.bias"] = (width, 3, 14, 14), (width,)
    for block in range(12):
        name = f"blocks.{block}"
        for part, outs, ins in (("attn.qkv", 3, 1), ("attn.proj", 1, 1), ("mlp.fc1", 4, 1), ("mlp.fc2", 1, 4)):
            shapes[f"{name}.{part}.weight"], shapes[f"{name}.{part}.bias"] = (
                (outs * width, ins * width),
                (outs * width,),
            )
        for part in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1.gamma", "ls2.gamma"):
            shapes[f"{name}.{part}"] = (width,)
    shapes["norm.weight"] = shapes["norm.bias"] = (width,)
    return shapes
