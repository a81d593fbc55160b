"""Deliberate breaks of the product, and which invariant must notice each.

A break is one edit of one function's source: compiled and put in the function's place while the check runs. Run this
file for the table of docs/invariants.md::

    python tests/sabotage.py > breaks.md
"""

from __future__ import annotations
import __future__

import inspect
import textwrap
from collections.abc import Callable
from types import CodeType
from typing import Any, NamedTuple

import pytest
import torch
from invariants import faces, losses, shifts, sound, training

from sidgan import audio, engine, geometry
from sidgan import losses as product_losses
from sidgan.data import dataset
from sidgan.metrics import sync as metric_sync
from sidgan.nn import generator, layers, motion, syncnet
from sidgan.train import average, batch, gan, loop, precision, processes
from sidgan.train import syncnet as train_syncnet

HEADER = "| promise | deliberate break | edit | what the test reported |"


class Break(NamedTuple):
    """One edit that breaks one promise."""

    promise: str  #: its name in docs/invariants.md
    what: str  #: what is wrong now
    check: Callable[..., None]  #: must raise AssertionError
    function: Callable[..., Any]  #: of the product
    old: str  #: in its source, once
    new: str
    arguments: tuple[Any, ...] = ()  #: of the check

    def row(self) -> str:
        """Its row in docs/invariants.md, but for what the check says."""
        new = f"`{self.new}`".replace("\n    ", "; ") if self.new else "nothing"
        return f"| {self.promise} | {self.what} | `{self.function.__qualname__}`: `{self.old}` → {new} |"


APS, UNIT, VIDEO, NET = layers.AdaptivePolyphase, layers.ConvUnit, syncnet.VideoEncoder, generator.Generator

SHIFTS = [
    Break("T1", "always the same grid", shifts.shifts_travel, APS.phase, ".argmax(1)", ".argmax(1) * 0"),
    Break("T1", "the weakest grid", shifts.strongest_grid, APS.phase, ".argmax(1)", ".argmin(1)"),
    Break("T1", "grids are numbered by columns", shifts.shifts_travel, APS.forward, "(0, 3, 5, 1", "(0, 5, 3, 1"),
    Break("T1", "rows and columns of the stride are swapped", shifts.shifts_travel, APS.__init__,
          "self.stride = stride", "self.stride = stride[::-1]", ((1, 2),)),
    Break("T1", "the low-pass does not wrap around", shifts.shifts_travel, APS.forward,
          "(x.roll(1, axis) + ", "(F.pad(x, (1, 0, 1, 0))[..., :x.shape[2], :x.shape[3]] + ", ((2, 2), 3)),
    Break("T2", "zero padding", shifts.feature_ignores_shifts, UNIT.__init__,
          '"circular" if circular', '"zeros" if circular'),
    Break("T2", "zero padding in the residual units only", shifts.feature_ignores_shifts, VIDEO.__init__,
          "circular=aps, residual", "circular=False, residual"),
    Break("T2", "zero padding in the last layer only", shifts.feature_ignores_shifts, VIDEO.__init__,
          "circular=True", "circular=False"),
    Break("T2", "all positions instead of their mean", shifts.feature_ignores_shifts, VIDEO.forward,
          ".mean((2, 3), keepdim=True)", ""),
    Break("T2", "one position instead of the mean of all", shifts.feature_ignores_shifts, VIDEO.forward,
          ".mean((2, 3), keepdim=True)", "[:, :, 1:2, 1:2]"),
    Break("T2", "always the same grid", shifts.feature_ignores_shifts, APS.phase, ".argmax(1)", ".argmax(1) * 0"),
    Break("T2", "a feature that never changes", shifts.feature_ignores_shifts, VIDEO.forward,
          "self.units(video)", "self.units(video * 0)"),
    Break("T2", "the asymmetric stride is transposed", shifts.maps_keep_their_shape, VIDEO.__init__,
          "AdaptivePolyphase(stage.stride,", "AdaptivePolyphase(stage.stride[::-1],"),
    Break("T3", "zero padding", shifts.feature_ignores_shifts, UNIT.__init__,
          '"circular" if circular', '"zeros" if circular', (96,)),
    Break("T4", "the vanilla expert is an adaptive one", shifts.strides_see_shifts, VIDEO.__init__,
          'config.kind == "aps"', "True"),
    Break("T5", "every image is replaced by its mean, so padding does not show", shifts.zero_padding_sees_shifts,
          VIDEO.forward, "self.units(video)", "self.units(video.mean((2, 3), keepdim=True).expand_as(video))"),
    Break("T6", "one grid for the whole batch", shifts.each_sample_chooses, APS.phase,
          ".argmax(1)", ".sum(0).argmax().expand(batch)"),
    Break("T6", "one grid for the whole batch", shifts.batch_mates_do_not_matter, APS.phase,
          ".argmax(1)", ".sum(0).argmax().expand(batch)"),
    Break("T6", "normalisation over the current batch", shifts.batch_mates_do_not_matter, UNIT.__init__,
          "BatchNorm2d(outputs)", "BatchNorm2d(outputs, track_running_stats=False)"),
    Break("T7", "the mean of all grids", shifts.gradient_of_the_chosen_grid, APS.forward,
          "[torch.arange(batch, device=x.device), index]", ".mean(1)"),
    Break("T7", "the expert's image is detached from the gradient", shifts.every_level_gets_a_gradient,
          syncnet.lower_half_windows, "faces.flatten(1, 2)", "faces.detach().flatten(1, 2)"),
    Break("T7", "the expert is shown the eyes", shifts.every_level_gets_a_gradient,
          syncnet.lower_half_windows, "faces.shape[-2] // 2 :]", ": faces.shape[-2] // 2]"),
    Break("T7", "the expert does not see the lowest rows", shifts.every_level_gets_a_gradient,
          syncnet.lower_half_windows, "faces.flatten(1, 2)",
          "F.pad(faces.flatten(1, 2)[..., : -(faces.shape[-1] // 16), :], (0, 0, 0, faces.shape[-1] // 16))"),
    Break("T8", "the index comes from the input's own precision", shifts.half_precision_chooses_alike, APS.phase,
          ".float()", "", (torch.float16,)),
    Break("T8", "the index comes from bfloat16", shifts.half_precision_chooses_alike, APS.phase,
          ".float()", ".bfloat16()"),
    Break("T8", "the index comes from bfloat16, in a run that is not", shifts.half_precision_chooses_alike, APS.phase,
          ".float()", ".bfloat16()", (torch.float32,)),
    Break("T9", "antialiased interpolation for block means", shifts.adaptive_feature_at_512,
          syncnet.at_expert_size, 'mode="area")', 'mode="bilinear", antialias=True)'),
    Break("T9", "every fourth pixel for block means", shifts.large_faces_are_block_means,
          syncnet.at_expert_size, 'mode="area"', 'mode="nearest"'),
    Break("T9", "bilinear interpolation for block means", shifts.large_faces_are_block_means,
          syncnet.at_expert_size, 'mode="area"', 'mode="bilinear"'),
    Break("T10", "the batch size of the example is fixed in the layer", shifts.exported_expert_is_the_same, APS.forward,
          "torch.arange(batch,", "torch.arange(int(batch),"),
    Break("T10", "the batch size of the example is fixed in the reference", shifts.exported_generator_is_the_same,
          motion.repeated, "count // have, *", "int(count) // have, *"),
]

CX, FFL = product_losses.contextual_loss, product_losses.focal_frequency_loss
LOSSES = [
    Break("T9", "contextual loss without the maximum", losses.equal_features_cost_nothing, CX, ".amax(1)", ".mean(1)"),
    Break("T9", "contextual loss, place by place", losses.positions_do_not_count, CX,
          ".amax(1)", ".diagonal(dim1=1, dim2=2)"),
    Break("T9", "the maximum over the ground truth's features", losses.contextual_loss_is_the_formula, CX,
          ".amax(1)", ".amax(2)"),
    Break("T9", "distances relative to the nearest output feature", losses.contextual_loss_is_the_formula, CX,
          "distance.amin(2", "distance.amin(1"),
    Break("T9", "each map has its own mean subtracted", losses.contextual_loss_is_the_formula, CX,
          "(f.float() - mean)", "(f.float() - f.float().mean((0, 2, 3), keepdim=True))"),
    Break("T9", "bandwidth 0.1", losses.contextual_loss_is_the_formula, CX, "/ BANDWIDTH", "/ 0.1"),
    Break("T9", "errors of opposite sign cancel in L1", losses.l1_grows_with_shifts, product_losses.masked_l1,
          ".abs()).mean()", ").mean().abs()"),
    Break("Sync loss", "no clamp", losses.sync_loss_landmarks, product_losses.sync_probability,
          ".clamp(PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)", ""),
    Break("Sync loss", "wrong sign of the cosine", losses.sync_loss_landmarks, product_losses.sync_probability,
          "((1 + cosine", "((1 - cosine"),
    Break("Sync loss", "wrong sign of the loss", losses.sync_loss_landmarks, product_losses.sync_loss,
          "-sync_probability", "sync_probability"),
    Break("Sync loss", "the cosine itself as the probability", losses.sync_loss_landmarks,
          product_losses.sync_probability, "((1 + cosine.float()) / 2)", "cosine.float()"),
    Break("FFL", "unnormalised Fourier transform", losses.focal_frequency_loss_is_the_formula, FFL,
          'norm="ortho"', 'norm="backward"'),
    Break("FFL", "weights relative to the image, not to the channel", losses.focal_frequency_loss_is_the_formula, FFL,
          "amax((2, 3)", "amax((1, 2, 3)"),
    Break("FFL", "weights take part in the gradient", losses.focal_frequency_loss_is_the_formula, FFL,
          "torch.no_grad()", "torch.enable_grad()"),
    Break("FFL", "weights are not relative to the largest", losses.focal_frequency_loss_is_the_formula, FFL,
          "weight / weight.amax((2, 3), keepdim=True)", "weight"),
    Break("FFL", "weights above 1", losses.focal_frequency_loss_in_its_bounds, FFL, ".clamp(0, 1)", "* 20"),
    Break("FFL", "weights are neither bounded, nor finite for equal images",
          losses.focal_frequency_loss_in_its_bounds, FFL, ".nan_to_num(0.0).clamp(0, 1)", ""),
    Break("LSGAN", "targets are swapped", losses.gan_losses_at_their_optima, product_losses.lsgan_d,
          "(real.float() - 1).square().mean() + fake.float()", "real.float().square().mean() + (fake.float() - 1)"),
    Break("LSGAN", "the critic's loss is not halved", losses.gan_losses_at_their_optima, product_losses.lsgan_d,
          ") / 2", ")"),
    Break("LSGAN", "the generator has the critic's target", losses.gan_losses_at_their_optima, product_losses.lsgan_g,
          "(fake.float() - 1)", "fake.float()"),
]

SOUND = [
    Break("Mel", "no floor under silence", sound.silence_is_the_lowest_value, audio._columns,
          "-4.0, 4.0)", "-9.0, 4.0)"),
    Break("Mel", "the last column is lost", sound.silence_is_the_lowest_value, audio.stream_log_mel,
          "1 + total // HOP - done", "total // HOP - done"),
    Break("Mel", "one column is lost at the edges of blocks", sound.columns_per_length, audio.stream_log_mel,
          "while done <= total", "while done < total"),
    Break("Mel", "no pre-emphasis", sound.mels_agree_with_the_definition, audio.stream_log_mel,
          "np.float32(PREEMPHASIS) *", "0 *"),
    Break("Mel", "symmetric window", sound.mels_agree_with_the_definition, audio._columns,
          "np.hanning(WINDOW + 1)[:-1]", "np.hanning(WINDOW)"),
    Break("Mel", "power instead of magnitude", sound.mels_agree_with_the_definition, audio._columns,
          "magnitude.T", "magnitude.T ** 2"),
    Break("Mel", "windows start a column late", sound.sync_window_of_frame_ten, audio.window_start,
          "Fraction(32, 5)", "Fraction(27, 5)"),
    Break("Mel", "windows start at the nearest column", sound.windows_start_exactly, audio.window_start,
          "math.floor(", "round("),
    Break("Mel", "windows are computed in floats", sound.windows_start_exactly, audio.window_start,
          "STEPS_PER_SECOND * time - Fraction(32, 5)", "STEPS_PER_SECOND * (float(time) - 0.08)"),
    Break("Mel", "windows are cut a column late", sound.window_holds_its_sound, audio.mel_window,
          "window_start(time)", "window_start(time) + 1"),
    Break("Mel", "windows are cut a column late", sound.click_in_the_middle, audio.mel_window,
          "window_start(time)", "window_start(time) + 1"),
    Break("Mel", "zeros instead of silence outside the recording", sound.no_sound_outside, audio.mel_window,
          "SILENCE", "0.0"),
    Break("Sync offset", "lags have the opposite sign", sound.known_lag_is_found, metric_sync._mean_cosine,
          "count = len(seen)", "count, lag = len(seen), -lag"),
    Break("Sync offset", "the worst lag", sound.known_lag_is_found, metric_sync.sync_match, ".argmax()", ".argmin()"),
    Break("Sync offset", "features are counted, not compared", sound.known_lag_is_found, metric_sync._mean_cosine,
          ".sum(1).mean()", ".sum(1).mean() * 0 + len(a)"),
]

FACES = [
    Break("Outputs", "no sigmoid", faces.outputs_are_pictures, NET._image, "torch.sigmoid(drawn)", "drawn"),
    Break("Outputs", "only the finest output", faces.outputs_are_pictures, NET.decode,
          "if r in wanted:", "if r == level:"),
    Break("Outputs", "one layer without its bias", faces.parameters_of_the_paper,
          generator.GeneratorBlock.__init__, "tiled, outputs, 3,", "tiled, outputs, 3, bias=False,"),
    Break("Outputs", "one residual unit fewer in the audio encoder", faces.parameters_of_the_paper,
          syncnet.AudioEncoder.__init__, "_residuals(stage, blocks)", "_residuals(stage, blocks)[1:]"),
    Break("Cached reference", "several references are used in turn", faces.cached_reference_is_the_same,
          motion.repeated, "maps[:, None].expand(-1, count // have, *maps.shape[1:]).flatten(0, 1)",
          "maps.repeat(count // have, *[1] * (maps.dim() - 1))"),
    Break("Cached reference", "a mirrored image where nothing is cached", faces.cached_reference_is_the_same,
          NET.forward, "self.encode_reference(reference)", "self.encode_reference(reference.flip(-1))"),
    Break("Cached reference", "the cache keeps half precision", faces.cached_reference_is_the_same,
          NET.forward, "self.encode_reference(reference)",
          "{r: f.half().float() for r, f in self.encode_reference(reference).items()}"),
    Break("Sound", "the block does not pass the sound on", faces.sound_changes_the_face,
          generator.GeneratorBlock.forward, "parts = [x, query, reference]",
          "audio = audio * 0\n    parts = [x, query, reference]"),
    Break("Sound", "scale and shift begin at zero", faces.sound_changes_the_face, layers.FeatureNorm.__init__,
          "nn.init.normal_(self.modulation.weight, std=0.02)", "nn.init.zeros_(self.modulation.weight)"),
    Break("Mask", "dubbing: one row leaks", faces.mask_is_the_box, geometry.mask_image,
          "centres >= box[1]", "centres >= box[1] + 1 / size"),
    Break("Mask", "training: one row leaks", faces.mask_is_the_box, dataset.box_masks,
          "centres >= y0", "centres >= y0 + 1 / size"),
    Break("Mask", "the engine lets one row through", faces.dubbing_does_not_see_under_the_mask, engine.Engine._draw,
          "given(masks > 0)", "given(np.roll(masks, 1, 1) > 0)"),
    Break("Mask", "the engine hides nothing", faces.dubbing_does_not_see_under_the_mask, engine.Engine._draw,
          "given(masks > 0)", "given(masks > 2)"),
    Break("Mask", "training lets one row through", faces.training_does_not_see_under_the_mask, batch.prepare_batch,
          "target * (1 - mask)", "target * (1 - mask.roll(1, 2))"),
    Break("Mask", "training hides nine tenths", faces.training_does_not_see_under_the_mask, batch.prepare_batch,
          "target * (1 - mask)", "target * (1 - 0.9 * mask)"),
    Break("Mask", "training hides a mask from before it was moved", faces.training_does_not_see_under_the_mask,
          batch.prepare_batch, "target * (1 - mask)", "target * (1 - windows.mask.flatten(0, 1))"),
    Break("Audio weights", "the expert's weights are not copied", faces.audio_encoder_is_the_experts,
          syncnet.AudioEncoder.take_over, "self.load_state_dict(other.state_dict())", "pass"),
    Break("Audio weights", "running statistics are not copied", faces.audio_encoder_is_the_experts,
          syncnet.AudioEncoder.take_over, "other.state_dict())", "dict(other.named_parameters()), strict=False)"),
    Break("Frozen", "frozen parameters get gradients", faces.frozen_ears_stay, NET.freeze_audio,
          "requires_grad_(not frozen)", "requires_grad_(True)"),
    Break("Frozen", "statistics of the frozen encoder move", faces.frozen_ears_stay, NET.train,
          "if self._audio_frozen:", "if False:"),
    Break("Frozen", "it stays frozen forever", faces.frozen_ears_stay, NET.freeze_audio,
          "requires_grad_(not frozen)", "requires_grad_(False)"),
    Break("Put back", "pasted half a pixel to the right", faces.put_back_is_the_identity, geometry.paste_face,
          "matrix = crop_matrix(unit, size)", "matrix = crop_matrix(unit + np.array([[0, 0, 0.5], [0, 0, 0]]), size)"),
    Break("Put back", "pasted half a pixel lower", faces.put_back_is_the_identity, geometry.paste_face,
          "matrix = crop_matrix(unit, size)", "matrix = crop_matrix(unit + np.array([[0, 0, 0], [0, 0, 0.5]]), size)"),
    Break("Put back", "cut out half a pixel off", faces.put_back_is_the_identity, geometry.crop_face,
          "matrix = crop_matrix(unit, size)", "matrix = crop_matrix(unit + np.array([[0, 0, 0.5], [0, 0, 0]]), size)"),
    Break("Put back", "values are truncated instead of rounded", faces.put_back_is_the_identity, geometry.paste_face,
          "0, top) + 0.5", "0, top)"),
    Break("Put back", "a trace of the image where alpha is 0", faces.only_alpha_changes, geometry.paste_face,
          "weight = _look_up(", "weight = 0.1 + 0.9 * _look_up("),
    Break("Put back", "samples where alpha is 0 change by one", faces.only_alpha_changes, geometry.paste_face,
          "plane.dtype), region)", "plane.dtype), region + 1)"),
    Break("Put back", "alpha counts half", faces.only_alpha_changes, geometry.paste_face,
          "region + weight *", "region + 0.5 * weight *"),
    Break("Put back", "pixel centres are taken for corners", faces.crops_tile_the_square, geometry.crop_matrix,
          "[1 / size, 0, 0.5 / size]", "[1 / size, 0, 0]"),
]

GAN, TRAINED = gan.GanTask, training.resumed_is_uninterrupted
TRAINING = [
    Break("Frozen", "the expert is trained too", training.only_the_generator_learns, GAN.__init__,
          "expert.eval().requires_grad_(False)", "expert.eval()"),
    Break("Frozen", "the audio encoder that was taken over is trained too", training.only_the_generator_learns,
          GAN.__init__, "net.freeze_audio(config.audio_lr == 0)", "pass"),
    Break("Audio weights", "training starts with a different audio encoder", training.only_the_generator_learns,
          GAN.__init__, "net.audio.take_over(ears)", "pass"),
    Break("LSGAN", "real and generated images are swapped", training.critics_learn_which_is_real, GAN._train_critics,
          "critic_loss(real, fake)", "critic_loss(fake, real)"),
    Break("Overfit", "the average of the weights is not updated", training.one_clip_is_learnt, average.average_in,
          "kept.lerp_(value, 1 - decay)", "pass"),
    Break("Overfit", "steps are not taken", training.one_clip_is_learnt, precision.descend,
          "update(fabric, optimiser, finite)", "pass"),
    Break("Resume", "the average is not restored", TRAINED, GAN.restore,
          'self.ema.load_state_dict(state["ema"])', "pass"),
    Break("Resume", "the generator's weights are not restored", TRAINED, GAN.restore,
          'self.net.load_state_dict(state["net"])', "pass"),
    Break("Resume", "the optimiser is not restored", TRAINED, GAN.restore,
          'self.optimiser.load_state_dict(state["optimiser"])', "pass"),
    Break("Resume", "the critics are not restored", TRAINED, GAN.restore,
          'self.critics.load_state_dict(state["critics"])', "pass"),
    Break("Resume", "the critics' optimiser is not restored", TRAINED, GAN.restore,
          'self.critic_optimiser.load_state_dict(state["critic_optimiser"])', "pass"),
    Break("Resume", "the gate forgets what it has seen", TRAINED, GAN.restore,
          'self.gate.restore(state["gate"])', "pass"),
    Break("Resume", "calibrated weights are forgotten", TRAINED, GAN.restore,
          'self.calibration.restore(state["calibration"])', "pass"),
    Break("Resume", "the expert's optimiser is not restored", TRAINED, train_syncnet.SyncTask.restore,
          'self.optimiser.load_state_dict(state["optimiser"])', "pass", ("sync",)),
    Break("Resume", "the watch over the loss is not restored", TRAINED, train_syncnet.SyncTask.restore,
          'self.watch.restore(state["watch"])', "pass", ("sync",)),
    Break("Resume", "torch's random numbers are not restored", TRAINED, loop._resume,
          'torch.set_rng_state(state["torch_rng"])', "pass", ("dice",)),
    Break("Resume", "one step is skipped", TRAINED, loop._resume, 'int(state["step"])', 'int(state["step"]) + 1',
          ("dice",)),
    Break("Resume", "one step is done twice", TRAINED, loop._save, '"step": step', '"step": step - 1', ("dice",)),
    Break("Resume", "the random numbers of a step depend on the clock", TRAINED, processes.step_rng,
          "(seed, index, fabric.global_rank)", ""),
]

BREAKS = [*SHIFTS, *LOSSES, *SOUND, *FACES, *TRAINING]


def broken(function: Callable[..., Any], old: str, new: str) -> tuple[Callable[..., Any], CodeType]:
    """The undecorated function, and the code it would have after the edit."""
    function = inspect.unwrap(function)
    source = textwrap.dedent(inspect.getsource(function))
    found = source.count(old)
    if found != 1:
        raise LookupError(f"{function.__qualname__} holds {old!r} {found} times, not once: adapt this break")
    source = source[source.index("def ") :].replace(old, new)
    outer = function.__code__.co_freevars  # among them __class__, for super()
    maker = f"def make({', '.join(outer)}):\n{textwrap.indent(source, '    ')}\n    return {function.__name__}"
    scope: dict[str, Any] = {}
    exec(compile(maker, "<broken>", "exec", __future__.annotations.compiler_flag), function.__globals__, scope)
    return function, scope["make"](*outer).__code__


def caught(case: Break) -> str:
    """What the check says about the broken product.

    Raises:
        LookupError: the edit no longer fits the product's source.
        Failed: the check passed.
    """
    function, code = broken(case.function, case.old, case.new)
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(function, "__code__", code)  # whoever has imported the function is affected
        with pytest.raises(AssertionError) as said:
            case.check(*case.arguments)
    return str(said.value).splitlines()[0]


def table() -> str:
    """Markdown: every break and what the test said."""
    return "\n".join([HEADER, "|---|---|---|---|", *(f"{case.row()} {caught(case)} |" for case in BREAKS)])


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(table())
