"""python -m hypenet: the command."""
from hypenet._command import main

main()
