"""Generators: residual network -> train and deploy prototxt (`resnet`), schedule -> NAG solver (`solver`)."""
