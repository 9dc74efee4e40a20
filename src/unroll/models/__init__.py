"""The shapes of model: plain torch modules built from `Recurrent`."""
