"""Texts as pictures: constant in size, legible, defined for every character."""

import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled
from gymnasium.utils.env_checker import check_env

from seqgan_envs import TextGenerationEnv, TextGenerationVectorEnv, picture

SHAPE = (384, 640, 3)
ENV_ID = "seqgan_envs:seqgan/TextGeneration-v0"


def ink(frame):
    """True for the pixels that are not white."""
    return (frame < 250).any(axis=2)


def lines_of(frame):
    """The number of bands of rows with ink."""
    rows = ink(frame).any(axis=1).astype(int)
    return int((np.diff(rows, prepend=0) == 1).sum())


@pytest.mark.parametrize(
    "text",
    ["", "a", "word " * 30, "word " * 3000, "x" * 5000, "\n" * 500, "नमस्ते 你好 ", "\x00\t\ud800"],
)
def test_every_picture_has_one_size_and_margins(text):
    frame = picture.draw(text)
    assert (frame.shape, frame.dtype) == (SHAPE, np.uint8)
    assert not ink(frame)[:, : picture.MARGIN - 4].any()
    assert not ink(frame)[:, 4 - picture.MARGIN :].any()
    assert not ink(frame)[4 - picture.MARGIN :].any()
    assert ink(frame).any() == bool(text)  # many line breaks end in three dots


def test_words_differ_and_the_same_text_is_the_same_picture():
    assert np.array_equal(picture.draw("a dog"), picture.draw("a dog"))
    assert not np.array_equal(picture.draw("a dog"), picture.draw("a cat"))
    assert picture.draw("a dog") is not picture.draw("a dog")


def test_long_texts_are_wrapped_with_smaller_letters_and_then_cut_in_front():
    assert lines_of(picture.draw("moon")) == 1
    assert lines_of(picture.draw("moon " * 20)) == 3  # 12 letters of 24 pixels and a half each
    middle = picture.draw("moon " * 150)
    assert lines_of(middle) > 10
    cut = picture.draw("first " * 2000 + "moon " * 2000)
    assert np.array_equal(cut, picture.draw("other " * 2000 + "moon " * 2000))
    assert not np.array_equal(cut, picture.draw("first " * 2000 + "moon " * 1999 + "noon "))


def test_line_breaks_and_words_longer_than_a_line():
    assert lines_of(picture.draw("moon\nmoon\nmoon")) == 3
    assert lines_of(picture.draw("o" * 100)) == 3


def test_what_the_font_lacks_is_written_as_its_escape():
    for text, shown in (
        ("\u4f60", "\\u4f60"),
        ("\u0928", "\\u0928"),
        ("a\tb\x00", "a\\tb\\x00"),
        ("\U0001f9e0", "\\U0001f9e0"),
        ("a\u200db\u00ad", "ab"),
    ):
        assert np.array_equal(picture.draw(text), picture.draw(shown)), text
    for text in ("Привет", "Γειά", "שלום", "é"):
        escaped = text.encode("unicode_escape").decode()
        assert not np.array_equal(picture.draw(text), picture.draw(escaped)), text


def test_the_prompt_is_grey_and_the_text_black():
    env = TextGenerationEnv(words=["dog", "runs"], prompts=[[0]], render_mode="rgb_array")
    env.reset(seed=0)
    prompt = env.render()
    assert prompt.min() >= 100
    env.step(1)
    both = env.render()
    assert both.min() == 0
    width = np.flatnonzero(ink(prompt).any(axis=0)).max() + 1
    assert np.array_equal(both[:, :width], prompt[:, :width])


def test_every_environment_shows_the_text_so_far():
    env = gymnasium.make(ENV_ID, words=["dog", "runs"], render_mode="rgb_array")
    env.reset(seed=0)
    assert np.array_equal(env.render(), picture.draw(""))
    env.step(0)
    env.step(1)
    assert np.array_equal(env.render(), picture.draw("dog runs"))
    check_env(env.unwrapped)
    many = TextGenerationVectorEnv(2, words=["dog", "runs"], render_mode="rgb_array")
    many.reset(seed=0)
    many.step([0, 1])
    frames = many.render()
    assert isinstance(frames, tuple)
    for frame, text in zip(frames, ("dog", "runs"), strict=True):
        assert np.array_equal(frame, picture.draw(text))


@pytest.mark.parametrize("package", ["matplotlib", "PIL"])
def test_a_missing_package_is_named_before_the_first_episode(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    picture._font.cache_clear()
    with pytest.raises(DependencyNotInstalled, match="pip install pillow matplotlib"):
        TextGenerationEnv(render_mode="rgb_array")
    picture._font.cache_clear()
    TextGenerationEnv(render_mode="ansi")


def play(env, steps):
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(steps):
        _, _, terminated, _, _ = env.step(env.action_space.sample())
        if np.ndim(terminated) == 0 and terminated:
            env.reset()


def frames_of(video):
    reader = pytest.importorskip("moviepy").VideoFileClip(str(video))
    try:
        return [frame.copy() for frame in reader.iter_frames()]
    finally:
        reader.close()


@pytest.mark.integration
def test_videos_are_recorded(tmp_path):
    """As `capture_video` of CleanRL's scripts does it."""
    pytest.importorskip("moviepy")
    env = gymnasium.make(ENV_ID, words=["dog", "runs"], max_length=4, render_mode="rgb_array")
    env = gymnasium.wrappers.RecordVideo(env, str(tmp_path), episode_trigger=lambda n: n == 0)
    env.reset(seed=0)
    for action in (0, 1, 0, 1):
        env.step(action)
    env.close()
    frames = frames_of(tmp_path / "rl-video-episode-0.mp4")
    assert len(frames) >= 5
    expected = picture.draw("dog runs dog runs")
    assert frames[-1].shape == SHAPE
    assert np.abs(frames[-1].astype(int) - expected).mean() < 3  # the codec loses a little


@pytest.mark.integration
def test_videos_of_a_vector_environment_are_recorded(tmp_path):
    pytest.importorskip("moviepy")
    env = gymnasium.make_vec(ENV_ID, num_envs=4, render_mode="rgb_array")
    env = gymnasium.wrappers.vector.RecordVideo(
        env, str(tmp_path), step_trigger=lambda n: n == 0, video_length=5
    )
    play(env, 8)
    env.close()
    (video,) = tmp_path.glob("*.mp4")
    assert frames_of(video)[0].shape == (2 * 384, 2 * 640, 3)


@pytest.mark.integration
def test_a_window_shows_it(monkeypatch):
    pygame = pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = gymnasium.make(ENV_ID, words=["dog", "runs"], render_mode="human")  # adds HumanRendering
    env.unwrapped.metadata = env.unwrapped.metadata | {"render_fps": 1000}
    env.reset(seed=0)
    env.step(0)
    shown = pygame.surfarray.array3d(pygame.display.get_surface()).transpose(1, 0, 2)
    assert np.array_equal(shown, picture.draw("dog"))
    env.close()
