"""What came of each pair of run and exploit type: its truth curve, its event, and when counting sees it."""
