"""The paper as data: `facts` is what it says, `ours` is every choice that it leaves open. Nothing else holds a number of either."""
