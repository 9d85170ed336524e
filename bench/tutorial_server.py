"""A FastAPI server that does what tutorials do with a picture: grey, 28x28 pixels, inverted, predicted.

It finds neither the digit nor the paper, and its answers to photographs are mostly wrong: it shows what a picture costs
at the least. It runs the newest version's TFLite model by the service's own runtime.
"""

from io import BytesIO
from pathlib import Path

import numpy as np
from fastapi import FastAPI, Request
from PIL import Image

from service.inference import model
from service.inference.version_list import list_versions

runtime = model.load(list_versions(Path("models/digits"))[0], "litert").runtime
app = FastAPI()


@app.post("/predict")
async def predict(request: Request) -> dict[str, float]:
    """Predict the digit of a picture file in the body."""
    picture = Image.open(BytesIO(await request.body()))
    image = 255 - np.asarray(picture.convert("L").resize((28, 28)))
    probabilities = runtime(image[None])[0]
    return {"digit": int(probabilities.argmax()), "confidence": float(probabilities.max())}
