"""The models of the sweep, with random weights, and small random inputs for them: torchvision, timm and transformers.

Each case has several ways to be built, of which the first one that runs is taken: sizes that most accept, then what the others ask for.
"""
import inspect
import re
from dataclasses import dataclass, fields
from functools import partial

import torch


@dataclass
class Case:
    library:str
    family:str
    model:str
    ways:list # functions that give a model, and its args and kwargs


# ---- torchvision ----

def images(size, *shape): return torch.randn(*(shape or (2, 3)), size, size)

def vision(name, size, shape=(), **kwargs):
    import torchvision
    return torchvision.models.get_model(name, weights=None, **kwargs), (images(size, *shape),), {}

def detector(name, **kwargs):
    model, _, _ = vision(name, 64, weights_backbone=None, **kwargs)
    def target():
        return dict(boxes=torch.tensor([[4., 6, 40, 44], [20, 10, 60, 62]]), labels=torch.tensor([1, 1]), masks=torch.randint(2, (2, 64, 64), dtype=torch.uint8), keypoints=torch.rand(2, 17, 3)*20 + 20)
    return model, ([torch.rand(3, 64, 64) for _ in range(2)], [target(), target()]), {}

def flow(name):
    model, (x,), _ = vision(name, 128)
    return model, (x, images(128)), dict(num_flow_updates=2)

def torchvision_ways(module, name):
    if module == 'detection': return [partial(detector, name, **(dict() if name.startswith('ssd') else dict(min_size=64, max_size=96)))]
    if module == 'optical_flow': return [partial(flow, name)]
    if module == 'segmentation': return [partial(vision, name, 64, weights_backbone=None, aux_loss=not name.startswith('lraspp') or None)]
    if module == 'video': return [partial(vision, name, 64, (2, 3, 8)), partial(vision, name, 224, (1, 3, 16))]
    if module == 'quantization': return [partial(vision, name, s, quantize=False) for s in (64, 299)]
    return [partial(vision, name, s, **k) for s,k in ((64, dict(image_size=64)), (56, dict(image_size=56)), (64, {}), (224, {}), (299, {}))]

def torchvision_cases():
    from torchvision import models
    for module in ('', 'segmentation', 'detection', 'video', 'optical_flow', 'quantization'):
        for name in models.list_models(module=getattr(models, module) if module else models):
            builder = models.get_model_builder(name)
            yield Case('torchvision', module or builder.__module__.split('.')[-1], name, torchvision_ways(module, name))


# ---- timm ----

SIZES = 'test zepto atto femto pico nano xxtiny xxt xxsmall xxs xtiny tiny ti t xsmall xs small s mini medium m base b large l xlarge xl xx xxlarge big huge h giantopt giant gigantic'.split()
WORD = '|'.join(sorted(SIZES, key=len, reverse=True))

def prefix(name): return re.split(rf'\d|_(?:{WORD})(?=[_\d]|$)', name)[0].rstrip('_')

def size_in(name):
    "Sorts names by size, as far as names tell"
    words = re.findall(rf'(?<![a-z\d])(?:{WORD})(?![a-z])', name)
    return SIZES.index(words[0]) if words else len(SIZES), [int(d) for d in re.findall(r'\d+', name)], name

def timm_way(name, size, **kwargs):
    import timm
    model = timm.create_model(name, pretrained=False, **kwargs)
    return model, (images(size or model.default_cfg['input_size'][-1]),), {}

def timm_cases():
    "The smallest model of each way to begin a name, in each module"
    import timm
    families = {}
    for module in timm.list_modules():
        for name in timm.list_models(module=module): families.setdefault((module, prefix(name)), []).append(name)
    for (_, family),names in families.items():
        name = min(names, key=size_in)
        yield Case('timm', family, name, [partial(timm_way, name, s, **k) for s,k in ((64, dict(img_size=64)), (112, dict(img_size=112)), (64, {}), (None, {}))])


# ---- transformers ----

# What makes a configuration small, where it has a number of that name.
SMALL = dict(vocab_size=99, hidden_size=32, embed_dim=32, embedding_size=32, d_model=32, projection_dim=32, emb_dim=32, dim=32, out_hidden_size=32, output_dim=32,
    num_hidden_layers=2, num_layers=2, encoder_layers=2, decoder_layers=2, num_decoder_layers=2, n_layers=2, depth=2, num_attention_heads=4, num_key_value_heads=2, num_heads=4, n_heads=4, encoder_attention_heads=4, decoder_attention_heads=4,
    intermediate_size=64, encoder_ffn_dim=64, decoder_ffn_dim=64, d_ff=64, d_kv=8, head_dim=8, rotary_dim=8, qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=8, kv_lora_rank=8, q_lora_rank=8,
    num_experts=4, num_local_experts=4, n_routed_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, shared_expert_intermediate_size=32, moe_num_experts=4, n_group=1, topk_group=1,
    max_position_embeddings=64, image_size=32, patch_size=8, num_mel_bins=80, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, use_cache=False)
# What some need in addition, by type: as many keys as queries, sections of the rotary embedding that fit, and what their modules ask for.
ALSO = {k:dict(num_key_value_heads=4) for k in 'axk1 axk2 deepseek_v2 deepseek_v3 deepseek_v32 dots1 glm4_moe_lite glm_moe_dsa longcat_flash minicpm3 mistral4 mistral_large4_text youtu'.split()}
ALSO |= {k:dict(rope_parameters=dict(rope_type='default', rope_theta=1e4, mrope_section=[1, 1, 2])) for k in 'glm4v_text glm_image_text glm_ocr_text glm4v_moe_text paddleocr_vl_text cosmos3_edge_text qwen2_vl_text qwen2_5_vl_text qwen3_vl_text qwen3_vl_moe_text'.split()}
ALSO |= {'mamba2': dict(num_heads=8), 'bamba': dict(mamba_n_heads=8, mamba_d_head=8), 'granitemoehybrid': dict(mamba_n_heads=8, mamba_d_head=8), 'convnext': dict(num_stages=4, patch_size=4), 'convnextv2': dict(num_stages=4, patch_size=4),
    'layoutlmv3': dict(input_size=32, coordinate_size=4, shape_size=8), 'gpt_neo': dict(attention_types=[[['global', 'local'], 1]]), **{k:dict(embed_dim=24, image_size=224, patch_size=4) for k in ('swin', 'swinv2', 'donut-swin', 'maskformer-swin')},
    'hiera': dict(image_size=[224, 224], patch_size=[7, 7]), 'levit': dict(image_size=224, patch_size=16), 'lilt': dict(hidden_size=48, num_attention_heads=2),
    'gemma4_text': dict(vocab_size_per_layer_input=99), 'mobilevitv2': dict(image_size=256), 'vjepa2': dict(crop_size=32, patch_size=16), 'reformer': dict(axial_pos_shape=[4, 4], axial_pos_embds_dim=[16, 16], lsh_attn_chunk_length=4, local_attn_chunk_length=4), 'xmod': dict(default_language='en_XX', languages=['en_XX']),
    'audio-spectrogram-transformer': dict(patch_size=16), 'timm_backbone': dict(backbone='test_resnet', out_indices=[1, 2, 3, 4])}
# The shapes of what some take in.
GIVEN = {**{k:dict(input_features=(2, 100, 80)) for k in ('parakeet_ctc', 'parakeet_encoder', 'canary', 'cohere_asr', 'lasr_ctc', 'lasr_encoder', 'nemotron_asr_streaming_encoder', 'speech_to_text')}, 'audio-spectrogram-transformer': dict(input_values=(2, 1024, 80)),
    **{k:dict(pixel_values=(2, t, 3, 32, 32)) for k,t in (('videomae', 16), ('vivit', 32), ('timesformer', 8))}, 'vjepa2': dict(pixel_values_videos=(2, 16, 3, 32, 32)), 'wav2vec2-bert': dict(input_features=(2, 50, 160)),
    **{k:dict(input_values=(2, 1, 4000)) for k in ('encodec', 'mimi')}, **{k:dict(past_values=(2, 32, 1)) for k in ('patchtst', 'patchtsmixer')}, 'mgp-str': dict(pixel_values=(2, 3, 32, 128)), 'detr': dict(pixel_values=(2, 3, 64, 64))}
LENGTH = 16
INPUTS = dict(input_ids=lambda c: torch.randint(3, 90, (2, LENGTH)), decoder_input_ids=lambda c: torch.randint(3, 90, (2, LENGTH)), bbox=lambda c: torch.randint(0, 10, (2, LENGTH, 4)),
    pixel_values=lambda c: torch.randn(2, getattr(c, 'num_channels', None) or 3, *[side(c)]*2), input_values=lambda c: torch.randn(2, 4000), input_features=lambda c: torch.randn(2, 80, 3000))
TASKS = 'SEQ_TO_SEQ_CAUSAL_LM', 'SPEECH_SEQ_2_SEQ', 'MASKED_LM', 'CAUSAL_LM', 'CTC', 'IMAGE_CLASSIFICATION'
MOST = 50_000_000 # parameters that a small model has

def side(config):
    size = getattr(config, 'image_size', None) or 32
    return size[0] if isinstance(size, (list, tuple)) else size

def small(cls):
    "A configuration of class `cls` for a model of thousands of parameters"
    numbers = {f.name for f in fields(cls) if f.default is None or isinstance(f.default, int)}
    kwargs = {cls.attribute_map.get(k, k): v for k,v in SMALL.items()}
    usual = cls() if cls.sub_configs else None
    subs = {k:small(type(sub)) for k in cls.sub_configs if hasattr(sub := getattr(usual, k, None), 'model_type')}
    return cls(**{k:v for k,v in kwargs.items() if k in numbers} | subs | ALSO.get(cls.model_type, {}))

def class_for(kind):
    "The name of the model class for a type of configuration: that of a task that has a loss, if there is one"
    from transformers.models.auto import modeling_auto
    for mapping in [f'MODEL_FOR_{task}_MAPPING_NAMES' for task in TASKS] + ['MODEL_MAPPING_NAMES']:
        if name := getattr(modeling_auto, mapping).get(kind): return name if isinstance(name, str) else name[0]

def transformers_way(kind, name, only_main):
    import transformers
    cls, config = getattr(transformers, name), small(transformers.CONFIG_MAPPING[kind])
    with torch.device('meta'): n = sum(p.numel() for p in cls(config).parameters())
    if n > MOST: raise ValueError(f'{n:,} parameters are left in the small configuration')
    model = cls(config)
    wanted = inspect.signature(model.forward).parameters
    inputs = {k:f(config) for k,f in INPUTS.items() if k in wanted and (not only_main or k == model.main_input_name)}
    if 'labels' in wanted and name.endswith(('LM', 'LMHeadModel', 'ForConditionalGeneration')): inputs['labels'] = inputs.get('decoder_input_ids', inputs.get('input_ids'))
    inputs |= {k:torch.randn(*shape) for k,shape in GIVEN.get(kind, {}).items()}
    return model, (), {k:v for k,v in inputs.items() if v is not None}

def transformers_cases():
    from transformers import CONFIG_MAPPING
    for kind in CONFIG_MAPPING.keys():
        if name := class_for(kind): yield Case('transformers', kind, name, [partial(transformers_way, kind, name, only_main) for only_main in (False, True)])


CASES = dict(torchvision=torchvision_cases, timm=timm_cases, transformers=transformers_cases)
