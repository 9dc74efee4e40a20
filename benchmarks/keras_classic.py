"""The classic character generator in Keras: LSTM of 128 units, one-hot windows of 40 every 3 characters, softmax on the
next one, RMSprop 0.01, batches of 128. Run by keras_text_generator.py in an environment of its own.

Prints a line of JSON an epoch: seconds of fitting so far, and the mean nats of the held-out windows.
"""

import json
import os
import sys
import time

os.environ.setdefault("KERAS_BACKEND", "jax")
import keras
import numpy as np
from peak_memory import peak

train_path, test_path, seed, epochs = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
keras.utils.set_random_seed(seed)
train, test = np.load(train_path), np.load(test_path)
classes = int(max(train.max(), test.max())) + 1
LENGTH = 40


def windows(text: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """One-hot windows and the one-hot character after each."""
    starts = np.arange(0, len(text) - LENGTH, step)
    eye = np.eye(classes, dtype=bool)
    return eye[text[starts[:, None] + np.arange(LENGTH)]], eye[text[starts + LENGTH]]


x, y = windows(train, 3)
x_test, y_test = windows(test, 3)
model = keras.Sequential(
    [keras.Input((LENGTH, classes)), keras.layers.LSTM(128), keras.layers.Dense(classes, activation="softmax")]
)
model.compile(loss="categorical_crossentropy", optimizer=keras.optimizers.RMSprop(learning_rate=0.01))
seconds = 0.0
for _ in range(epochs):
    began = time.perf_counter()
    model.fit(x, y, batch_size=128, epochs=1, verbose=0)
    seconds += time.perf_counter() - began
    most = peak()
    loss = model.evaluate(x_test, y_test, batch_size=1024, verbose=0)
    print(json.dumps({"seconds": seconds, "loss": float(loss), "memory": most}), flush=True)
