"""Names of the ATen operators that networks use. A program with other operators is not run.

These are the operators of scripted and traced MONAI networks, and related ones: none of them reads or writes
files, runs other programs or changes settings.
"""

from __future__ import annotations

_SHAPES = """
    __derive_index __range_length as_strided broadcast_tensors cat chunk column_stack concat contiguous dim
    dstack expand expand_as flatten flip hstack meshgrid movedim moveaxis narrow numel permute pixel_shuffle
    pixel_unshuffle repeat repeat_interleave reshape reshape_as roll rot90 select size slice split
    split_with_sizes squeeze squeeze_ stack stride swapaxes t tensor_split tile transpose unbind unflatten
    unfold unsqueeze unsqueeze_ view view_as vstack sym_size sym_numel sym_stride
"""
_MAKING = """
    alias arange as_tensor clone copy copy_ detach detach_ device empty empty_like eye fill fill_ full
    full_like lift_fresh lift_fresh_copy linspace new_empty new_full new_ones new_zeros ones ones_like
    scalar_tensor tensor to type_as zero_ zeros zeros_like _to_copy
"""
_ELEMENTS = """
    abs abs_ add add_ addcdiv addcmul atan bitwise_and bitwise_not bitwise_or ceil clamp clamp_ clamp_max
    clamp_min clip cos div div_ divide elu elu_ eq erf exp exp_ expm1 floor floor_ floor_divide floordiv fmod
    frac ge gelu gelu_ gt hardsigmoid hardsigmoid_ hardswish hardswish_ hardtanh hardtanh_ isfinite isinf
    isnan le leaky_relu leaky_relu_ lerp log log10 log1p log2 log_sigmoid logical_and logical_not logical_or
    logical_xor logit lt masked_fill masked_fill_ maximum minimum mish mish_ mul mul_ multiply nan_to_num ne
    neg neg_ pow pow_ prelu reciprocal relu relu6 relu_ remainder round rsqrt rsub selu selu_ sigmoid sigmoid_
    sign silu silu_ sin softplus softsign sqrt square sub sub_ subtract tan tanh tanh_ threshold true_divide
    trunc where
"""
_SUMS = """
    all amax amin aminmax any argmax argmin argsort bucketize count_nonzero cumsum gather index index_put
    index_put_ index_select log_softmax logsumexp masked_select max mean median min mode norm prod scatter
    softmax sort std std_mean sum take_along_dim topk tril triu var var_mean linalg_vector_norm _softmax
    _log_softmax
"""
_LAYERS = """
    _convolution adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
    adaptive_max_pool2d adaptive_max_pool3d addmm affine_grid_generator alpha_dropout avg_pool1d avg_pool2d
    avg_pool3d baddbmm batch_norm bilinear bmm col2im constant_pad_nd conv1d conv2d conv3d conv_transpose1d
    conv_transpose2d conv_transpose3d convolution dot dropout dropout_ einsum embedding feature_alpha_dropout
    feature_dropout feature_dropout_ grid_sampler grid_sampler_2d grid_sampler_3d group_norm im2col
    instance_norm layer_norm linear matmul max_pool1d max_pool2d max_pool2d_with_indices max_pool3d
    max_pool3d_with_indices max_unpool2d max_unpool3d mm mv native_batch_norm native_dropout native_group_norm
    native_layer_norm pad reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d
    replication_pad2d replication_pad3d rms_norm scaled_dot_product_attention upsample_bicubic2d
    upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d
    upsample_trilinear3d _adaptive_avg_pool2d _adaptive_avg_pool3d _native_batch_norm_legit
    _native_batch_norm_legit_no_training _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_lanczos2d_aa
    _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d
"""
# Operators of TorchScript's lists, strings and numbers.
_LANGUAGE = """
    Bool Float Int ScalarImplicit IntImplicit FloatImplicit __and__ __contains__ __getitem__ __is__ __isnot__
    __not__ __or__ __xor__ _set_item append endswith extend format get insert is_floating_point item items
    join keys len list lower mod pop replace reverse startswith strip upper values warn
"""
ATEN = frozenset(" ".join((_SHAPES, _MAKING, _ELEMENTS, _SUMS, _LAYERS, _LANGUAGE)).split())
PRIM = frozenset(
    {
        *(
            "NumToTensor",
            "RaiseException",
            "abs",
            "data",
            "device",
            "dtype",
            "is_cuda",
            "itemsize",
            "layout",
            "max",
        ),
        *("min", "requires_grad", "shape", "type", "unchecked_unwrap_optional", "is_quantized"),
    }
)
