"""What breaks while a cluster works, and whether the work ends right all the same.

A case is a function ``(nodes, folder) -> Outcome``. It starts the work as a user would (``work.command``: ``lstm-ray`` in a
process of its own), waits until it sees that the work is in its midst (``Work.until``), does one fault, waits for the first
sign of new progress, lets the work end, and holds what it left against an undisturbed run of the same config. What does not
come in time is `Missed`, which the suite tells as a case that does not hold.

    def train_worker(nodes: Nodes, folder: Path) -> Outcome:
        world = World.at(folder)                                # a table of known content and its config, made once
        calm = world.calm(nodes, "train")                       # the undisturbed run directory, made once
        with world.working(nodes, "train", run) as work:        # lstm-ray train CONFIG --address ... --run-dir run
            work.until(lambda: ..., "a checkpoint")             # in its midst, as seen
            fault = Fault.now(); os.kill(...)
            work.until(lambda: ..., "an epoch more"); seconds = fault.seconds()
            code = work.ended()
        return judged("Train worker killed", "an epoch more", seconds, wrong)   # wrong: what is not as it should be, in words

``nodes`` is a cluster of two nodes with one CPU each, shared by all cases: a case may kill a node (``suite.mended`` starts
another after it), but not the head: what needs a head of its own starts one with ``running``. ``folder`` is shared as well: a
case works in a folder of its own name in it. Cases are registered in ``suite.CASES`` by the name that ``--only`` takes.
"""
