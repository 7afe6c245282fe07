"""A researcher in Python: the environment, an agent of another library, and a run read back."""

from pathlib import Path

import pytest
from typed import SMALL, captions, typed

AGENT = """
import seqgan
from stable_baselines3 import PPO

words = ["the", "a", "cat", "dog", "sleeps"]
env = seqgan.make_env(words=words, reward=lambda text: text.count("cat") / 6, max_length=6)
env = seqgan.dense_reward(env, num_rollouts=8)
agent = PPO("MultiInputPolicy", env, n_steps=128, gamma=1.0)
env.follow(agent)
agent.learn(256)
observation, info = env.reset(seed=0)
total, ended = 0.0, False
while not ended:
    action, _ = agent.predict(observation)
    observation, reward, ended, _, info = env.step(action)
    total += float(reward)
print(abs(total - info["text"].count("cat") / 6) < 1e-5)
"""
GYMNASIUM = """
import gymnasium
import seqgan

env = gymnasium.make("seqgan/TextGeneration-v0", words=["a", "dog"], reward=lambda text: len(text))
print(env.reset(seed=0)[0]["tokens"])
env.step(1)
print(env.step(2)[1:4])
"""
RUN = """
import seqgan

run = seqgan.load("runs/captions")
print(run)
for text in run.sample(2, temperature=0.5):
    print("sample:", text)
print(run.summary())
print(run.metrics)
print(sorted(run.evaluate(n=20))[:2])
"""


@pytest.mark.integration
def test_an_agent_of_stable_baselines_learns_on_dense_rewards(tmp_path: Path) -> None:
    """2,000 steps in the twelve lines, 256 here: the learning has tests of its own."""
    pytest.importorskip("stable_baselines3")
    (tmp_path / "agent.py").write_text(AGENT, encoding="utf-8")
    shown = typed('"$PYTHON" agent.py', tmp_path)
    assert (shown.code, shown.lines[-2]) == (0, "True"), shown.text


@pytest.mark.slow
def test_gymnasium_makes_the_environment_after_the_import(tmp_path: Path) -> None:
    (tmp_path / "gym.py").write_text(GYMNASIUM, encoding="utf-8")
    shown = typed('"$PYTHON" gym.py', tmp_path)
    assert shown.lines[:2] == ["[3 3 3 3 3 3 3 3]", "(3.0, True, False)"], shown.text


@pytest.mark.slow
def test_a_run_of_the_command_line_is_read_back_in_python(tmp_path: Path) -> None:
    (tmp_path / "captions.txt").write_text(captions(), encoding="utf-8")
    line = f"seqgan train captions.txt --epochs 2 --output runs/captions {SMALL}"
    assert typed(line, tmp_path).code == 0
    (tmp_path / "read.py").write_text(RUN, encoding="utf-8")
    shown = typed('"$PYTHON" read.py', tmp_path)
    assert shown.code == 0, shown.text
    assert "runs/captions" in shown.said
    assert shown.text.count("sample: ") == 2
    assert "The adversarial game is" in shown.said
    assert "eval/" in shown.text


@pytest.mark.slow
def test_python_says_what_is_wrong_in_the_last_line(tmp_path: Path) -> None:
    line = '"$PYTHON" -c "import seqgan; seqgan.load(\'nosuch\')"'
    shown = typed(line, tmp_path, columns=200)
    assert shown.code == 1
    assert "nosuch" in shown.lines[-2]
