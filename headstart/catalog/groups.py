"""Named groups of timm networks to choose a source from, without importing timm."""

from __future__ import annotations

import fnmatch

from headstart.catalog.models import known_models

GROUPS: dict[str, tuple[str, ...]] = {
    "small": (
        "timm:lcnet_100.ra2_in1k",
        "timm:mobilenetv3_small_100.lamb_in1k",
        "timm:mobilenetv4_conv_small.e2400_r224_in1k",
        "timm:efficientnet_lite0.ra_in1k",
        "timm:efficientnet_b0.ra4_e3600_r224_in1k",
        "timm:regnety_004.tv2_in1k",
        "timm:convnext_atto.d2_in1k",
        "timm:fastvit_t8.apple_in1k",
        "timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k",
    ),
    "medium": (
        "timm:resnet18.a1_in1k",
        "timm:resnet50.a1_in1k",
        "timm:regnety_032.tv2_in1k",
        "timm:tf_efficientnetv2_s.in21k_ft_in1k",
        "timm:convnext_tiny.in12k_ft_in1k",
        "timm:convnextv2_tiny.fcmae_ft_in22k_in1k",
        "timm:deit3_small_patch16_224.fb_in22k_ft_in1k",
        "timm:swin_tiny_patch4_window7_224.ms_in22k_ft_in1k",
        "timm:vit_small_patch14_dinov2.lvd142m",
    ),
    "transformers": (
        "timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k",
        "timm:vit_small_patch16_224.augreg_in21k_ft_in1k",
        "timm:deit3_small_patch16_224.fb_in22k_ft_in1k",
        "timm:swin_tiny_patch4_window7_224.ms_in22k_ft_in1k",
        "timm:vit_base_patch16_224.augreg2_in21k_ft_in1k",
        "timm:vit_base_patch16_clip_224.openai",
        "timm:vit_small_patch14_dinov2.lvd142m",
    ),
    "self-supervised": (
        "timm:vit_small_patch16_224.dino",
        "timm:vit_base_patch16_224.mae",
        "timm:vit_small_patch14_dinov2.lvd142m",
        "timm:vit_small_patch16_dinov3.lvd1689m",
        "timm:convnext_tiny.dinov3_lvd1689m",
        "timm:convnextv2_tiny.fcmae",
    ),
}
"""Name -> networks with published weights, small ones first: kinds worth comparing, not variants of one."""


def matching(pattern: str) -> list[str]:
    """Known networks whose name, with or without its prefix, fits a shell pattern such as `timm:resnet*`, as listed."""
    wanted = pattern.lower()
    names = (model.name for model in known_models())
    return [name for name in names if any(fnmatch.fnmatchcase(form, wanted) for form in (name, name.rpartition(":")[2]))]
