from zoo.cli.start import main

main()
