"""What a network costs on a device, predicted and measured."""
