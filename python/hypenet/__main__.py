"""python -m hypenet: the command."""
from hypenet_command import main

main()
