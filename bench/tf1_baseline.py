"""Milliseconds per training step: our loop beside a TensorFlow 1.x session: `python -m bench.tf1_baseline`.

Both train recipe `notebook` on the same batches, held in memory. The baseline is the loop of the TensorFlow 1 tutorial:
a placeholder graph, one `session.run` per step to train and one for the batch's accuracy and cross-entropy. Rounds
alternate, so that both meet the same load on the machine. The first run is printed apart: it includes compilation,
which a run pays for once.
"""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from training.data import mnist
from training.data.batches import BatchStream, index_stream
from training.data.mnist import Split
from training.fit import loop, optimisers
from training.recipe import Recipe

ROUNDS = 15
tf1 = tf.compat.v1


def main() -> None:
    """Print milliseconds per step of both loops, and their ratio."""
    recipe = Recipe.load("notebook", ["evaluate_every=500", "print_every=500"])
    training = mnist.load(Path(os.environ.get("DIGITS_DATA", "data/mnist"))).training
    loops = {"compiled loop": compiled_loop(recipe, training), "session.run": session_loop(recipe, training)}
    for name, run in loops.items():
        seconds = seconds_per_step(run, 1)
        print(f"{name}: first {recipe.evaluate_every} steps, compilation included: {seconds:.2f} s")
    rounds = [
        {name: seconds_per_step(run, recipe.evaluate_every) for name, run in loops.items()} for _ in range(ROUNDS)
    ]
    for name in loops:
        steps = sorted(1000 * seconds[name] for seconds in rounds)
        print(f"{name}: median {statistics.median(steps):.3f} ms per step ({steps[0]:.3f} to {steps[-1]:.3f})")
    ratios = sorted(seconds["session.run"] / seconds["compiled loop"] for seconds in rounds)
    print(f"ratio, median of {ROUNDS} rounds: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


def seconds_per_step(run: Callable[[], None], steps: int) -> float:
    """Call `run`, which does this many steps, and return seconds per step."""
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) / steps


def compiled_loop(recipe: Recipe, training: Split) -> Callable[[], None]:
    """Our loop: `evaluate_every` steps in one compiled call."""
    state = optimisers.initial_state(recipe)
    advance, batches = loop.compile_steps(recipe), BatchStream(recipe, training)

    def run() -> None:
        nonlocal state
        state, scores = advance(state, batches.block_at(0))
        scores[0].numpy()

    return run


def session_loop(recipe: Recipe, training: Split) -> Callable[[], None]:
    """The baseline: two `session.run` calls per step, batches fed from memory as float32 [batch_size, 784]."""
    ((_, order),) = index_stream(recipe, len(training), 0)
    batches = order.reshape(-1, recipe.batch_size)
    pixels = training.images.reshape(-1, 784).astype(np.float32) / 255
    targets = np.eye(10, dtype=np.float32)[training.labels]
    with tf.Graph().as_default():
        images, labels = tf1.placeholder(tf.float32, [None, 784]), tf1.placeholder(tf.float32, [None, 10])
        layer = images
        for inputs, units in zip(recipe.sizes, recipe.sizes[1:], strict=False):
            weights = tf1.Variable(tf1.truncated_normal([inputs, units], seed=recipe.seed))
            logits = layer @ weights + tf1.Variable(tf.zeros([units]))
            layer = tf.sigmoid(logits)
        entropy = tf.reduce_sum(tf1.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits))
        accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), tf.argmax(labels, 1)), tf.float32))
        step = tf1.train.GradientDescentOptimizer(recipe.learning_rate).minimize(entropy)
        session = tf1.Session()
        session.run(tf1.global_variables_initializer())

    def run() -> None:
        for batch in batches:
            feed = {images: pixels[batch], labels: targets[batch]}
            session.run(step, feed)
            session.run([accuracy, entropy], feed)

    return run


if __name__ == "__main__":
    main()
